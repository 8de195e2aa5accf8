"""A websocket of an ASGI application, in this process: two queues instead of a server.

    async with Socket(application, websocket_scope("lobby")) as socket:
        await socket.connect()
        await socket.send("hello")
        assert await socket.receive() == "hello"

Not `channels.testing`: that imports daphne, and its time-outs cancel the application. Leaving the block
closes the socket and waits until the application is gone; an exception of it that no `failure` asked for
is raised there.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Self

from tests.live.servers import SCALE

PATIENCE = 10.0 * SCALE
_POLL = 0.002


async def until(condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Wait for a condition, plain or asynchronous, and return what it answered."""
    ends = asyncio.get_running_loop().time() + patience
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if asyncio.get_running_loop().time() > ends:
            raise AssertionError(f"Never came true: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(_POLL)


async def turns(count: int = 10) -> None:
    """Let everything that is ready run, some rounds: for what must *not* happen meanwhile."""
    for _ in range(count):
        await asyncio.sleep(0)


def websocket_scope(hub: str, **more: Any) -> dict[str, Any]:
    """The scope of a socket routed with its hub's name."""
    return {
        "type": "websocket",
        "path": f"/ws/{hub}/",
        "headers": [],
        "subprotocols": [],
        "url_route": {"args": (), "kwargs": {"hub": hub}},
        **more,
    }


class Closed(Exception):
    """The server closed the socket, with ``code``."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"closed with {code}: {reason}")
        self.code = code
        self.reason = reason


class Socket:
    """The client's and the server's side at once.

    ``taking`` is whether the client takes what it is sent: while it is not set, the application's `send`
    waits. ``broken``: what `send` raises. ``silent``: the client does not answer a close.
    """

    def __init__(self, application: Callable[..., Awaitable[None]], scope: dict[str, Any]) -> None:
        self.scope = scope
        self.taking = asyncio.Event()
        self.taking.set()
        self.broken: BaseException | None = None
        self.silent = False
        self.accepted = False
        self._shaken = False
        self._application = application
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gone = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        failure = await self.leave()
        if failure and kind is None:
            raise AssertionError(f"The application failed: {failure}")

    async def connect(self) -> Self:
        """Open the socket; raises `Closed` where the application refuses it before it accepts."""
        self._task = asyncio.create_task(self._application(self.scope, self._receive, self._send))
        self._inbox.put_nowait({"type": "websocket.connect"})
        first = await self._next()
        if first["type"] != "websocket.accept":
            raise Closed(first.get("code", 1000), first.get("reason", ""))
        self.accepted = True
        return self

    def send_nowait(self, data: str | bytes) -> None:
        kind = "text" if isinstance(data, str) else "bytes"
        self._inbox.put_nowait({"type": "websocket.receive", kind: data})

    async def receive(self) -> str | bytes:
        """The next message; raises `Closed` for a close."""
        message = await self._next()
        if message["type"] == "websocket.close":
            raise Closed(message.get("code", 1000), message.get("reason", ""))
        assert message["type"] == "websocket.send", message
        return message["text"] if message.get("text") is not None else message["bytes"]

    async def receive_all(self, count: int) -> list[str | bytes]:
        return [await self.receive() for _ in range(count)]

    async def close_code(self) -> int:
        """Read up to the close, and return its code."""
        try:
            while True:
                await self.receive()
        except Closed as closed:
            return closed.code

    def received(self) -> list[str | bytes]:
        """What came and was not read yet, without waiting."""
        messages = []
        while not self._outbox.empty():
            message = self._outbox.get_nowait()
            messages.append(message.get("text") or message.get("bytes") or message.get("code"))
        return messages

    def disconnect(self, code: int = 1000) -> None:
        """The client, or the network, ends the socket."""
        if not self._gone:
            self._gone = True
            self._inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    def cancel(self) -> None:
        """The server stops the application."""
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    async def ended(self) -> None:
        """Wait for the application to end by itself."""
        await until(lambda: not self.running)

    async def failure(self) -> str | None:
        """Wait for the end of the application: its exception as text, or None."""
        await self.ended()
        return await self.leave()

    async def leave(self) -> str | None:
        """Close the socket, and see the application end; its exception as text, or None."""
        self.taking.set()
        self.disconnect()
        task, self._task = self._task, None
        if task is None:
            return None
        await asyncio.wait([task], timeout=PATIENCE)
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
            return "it did not end with its socket"
        if task.cancelled():
            return None
        error = task.exception()
        return repr(error) if error else None

    async def _next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            return await self._outbox.get()

    async def _receive(self) -> dict[str, Any]:
        return await self._inbox.get()

    async def _send(self, message: dict[str, Any]) -> None:
        if self.broken is not None:
            raise self.broken
        if not self.taking.is_set():
            await self.taking.wait()
        if message["type"] == "websocket.send" and not self._shaken:
            raise RuntimeError("a message before the accept")  # as servers do
        self._shaken = self._shaken or message["type"] == "websocket.accept"
        self._outbox.put_nowait(message)
        if message["type"] == "websocket.close" and not self.silent:
            self.disconnect(message.get("code", 1000))
