"""A websocket of an ASGI application in this process: queues instead of a server."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from django_hub.client_errors import HubClosed
from django_hub.conf import get_settings
from django_hub.layers.choice import get_layer
from django_hub.testing.watch import Watch

_ASYNCIO = str(Path(asyncio.__file__).parent)
# Seconds that an application has to end, beyond what it may take to tidy up.
_MORE = 0.5
_Message = dict[str, Any]


class AsgiSocket:
    """One connection. The application runs in a task of its own: who gives up waiting harms nothing."""

    def __init__(
        self, application: Callable[..., Awaitable[None]], scope: dict[str, Any], watch: Watch
    ) -> None:
        self._watch = watch
        self._path = scope["path"]
        self._inbox: asyncio.Queue[_Message] = asyncio.Queue()
        self._outbox: deque[_Message] = deque()
        self._changed = asyncio.Event()
        self._listening = False
        self._accepted = False
        self._gone = False
        self._told = False
        # In a context of its own, as in a server.
        self._task = asyncio.get_running_loop().create_task(
            self._run(application, scope), context=contextvars.Context()
        )
        self._task.add_done_callback(lambda _: self.wake())
        self._inbox.put_nowait({"type": "websocket.connect"})
        watch.sockets[self] = None
        watch.undrained = True

    @property
    def running(self) -> bool:
        return not self._task.done()

    @property
    def is_quiet(self) -> bool:
        """The application has taken all, and waits for more; or it is over."""
        return self._task.done() or (self._listening and self._inbox.empty())

    @property
    def has_message(self) -> bool:
        return bool(self._outbox)

    def doing(self) -> str:
        """Where the application is, for an error."""
        if self._task.done():
            return f"the application of {self._path} has ended"
        place = "somewhere"
        coroutine: Any = self._task.get_coro()
        while (frame := getattr(coroutine, "cr_frame", None)) is not None:
            code = frame.f_code
            if not code.co_filename.startswith(_ASYNCIO):
                place = f"{code.co_filename}:{frame.f_lineno}, in {code.co_name}"
            coroutine = coroutine.cr_await
        what = "waits for the client" if self.is_quiet else "is busy"
        return f"the application of {self._path} {what}: {place}"

    def wake(self) -> None:
        self._changed.set()

    def put(self, data: str | bytes) -> None:
        """What the client says; nobody hears it where the socket is closed, as the client may yet read."""
        self._watch.undrained = True
        if not self._gone:
            kind = "text" if isinstance(data, str) else "bytes"
            self._inbox.put_nowait({"type": "websocket.receive", kind: data})

    async def next(self, timeout: float) -> _Message:
        """What the application sends next.

        Raises the exception with which it failed; `HubClosed` where it ended without a close; TimeoutError,
        which says what it is doing instead.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while not self._outbox:
            self._watch.raise_failure()
            if self._task.done():
                if not self._told and not self._task.cancelled():
                    self._told = True
                    self._task.result()
                raise HubClosed(1006, "the application ended without closing the socket")
            self._changed.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                raise TimeoutError(self._why(timeout)) from None
        return self._outbox.popleft()

    def taken(self) -> _Message:
        """The next of what has come."""
        return self._outbox.popleft()

    def disconnect(self, code: int) -> None:
        """The client, or the network, ends the socket."""
        if not self._gone:
            self._gone = True
            self._watch.undrained = True
            self._inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    async def end(self, code: int = 1000) -> BaseException | None:
        """Close the socket and see the application end; its failure, if that was not told yet."""
        self.disconnect(code)
        grace = get_settings().SHUTDOWN_GRACE + _MORE
        if not self._task.done():
            await asyncio.wait([self._task], timeout=grace)
        self._watch.sockets.pop(self, None)
        if not self._task.done():
            doing = self.doing()
            self._task.cancel()
            await asyncio.wait([self._task], timeout=grace)
            return AssertionError(f"It did not end {grace} s after its socket: {doing}")
        if self._told or self._task.cancelled():
            return None
        self._told = True
        return self._task.exception()

    async def _run(self, application: Callable[..., Awaitable[None]], scope: dict[str, Any]) -> None:
        await application(scope, self._receive, self._send)

    async def _receive(self) -> _Message:
        self._listening = True
        try:
            return await self._inbox.get()
        finally:
            self._listening = False

    async def _send(self, message: _Message) -> None:
        if message["type"] == "websocket.accept":
            self._accepted = True
        elif message["type"] == "websocket.send" and not self._accepted:
            raise RuntimeError(  # as servers do
                f"The application of {self._path} sent a message before it accepted the socket. Call "
                "accept() first, as `await self.accept()` in a consumer."
            )
        self._outbox.append(message)
        if message["type"] == "websocket.close" and not self._gone:
            # As a server and its client do: the close is answered.
            self._gone = True
            self._inbox.put_nowait({"type": "websocket.disconnect", "code": message.get("code", 1000)})
        self.wake()

    def _why(self, timeout: float) -> str:
        text = f"Nothing came within {timeout:g} s; {self.doing()}."
        if self._watch.remarks:
            text += "\nLogged meanwhile:" + "".join(f"\n    {remark}" for remark in self._watch.remarks)
        if not get_layer().in_memory:
            text += (
                f"\nThe channel layer {get_settings().LAYER!r} is "
                f"{type(get_layer().layer).__module__}.{type(get_layer().layer).__name__}, which needs its "
                "broker, and a worker beside. Within clean_hubs (a fixture, or 'async with clean_hubs():') "
                "tests need neither."
            )
        return text
