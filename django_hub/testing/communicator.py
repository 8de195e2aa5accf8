"""HubCommunicator: a client of a websocket application, for tests."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn, Self

from channels.routing import get_default_application

from django_hub import closes
from django_hub.client_errors import HubClosed, HubRefused
from django_hub.client_frames import SUBPROTOCOL
from django_hub.client_items import Present, Received
from django_hub.client_session import Ack, Hello, Reply, Session, Turned
from django_hub.testing import watch
from django_hub.testing.scopes import websocket_scope
from django_hub.testing.sockets import AsgiSocket

_LOST = 1006
_FORBIDDEN = 403


class HubCommunicator:
    """Opens a websocket to an application, and closes it when the block is left, whatever happens.

        async with HubCommunicator("/ws/garden/") as ann:
            await ann.send("hello")
            assert await ann.receive_json() == {"said": "hello"}

    ``path``, with its query, is routed by ``application``: that of ``ASGI_APPLICATION`` by default, or any
    other ASGI application or consumer (``GardenConsumer.as_asgi()``, with the ``url_route`` in ``scope``,
    which is added to the socket's scope). ``user`` is put into the scope as authenticated; ``client``, a
    `django.test.Client` that is logged in, gives its cookies, and so a real session. Headers are those of a
    browser on ``testserver``; ``headers`` are added or take their places.

    ``subprotocols=["hub.v1"]`` makes it a client as `hub.js` is: it connects and waits for the hello,
    gets its messages out of their envelopes, has `request`, `presence`, `hello`, and `drop` and `connect`
    to come back. Without, it is a raw client of any consumer, of this package or not.

    Each wait takes ``timeout`` seconds at most, then it raises `TimeoutError` with what the application is
    doing; the application goes on. An exception in a consumer, or of a handler of events, is raised by what
    waits here, or by leaving the block: the exception itself, with its traceback. Entering raises
    `HubClosed` where the socket is refused.
    """

    def __init__(
        self,
        path: str,
        application: Callable[..., Awaitable[None]] | None = None,
        *,
        user: Any = None,
        client: Any = None,
        subprotocols: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        scope: Mapping[str, Any] | None = None,
        timeout: float = 5.0,
    ) -> None:
        if not str(path).startswith("/"):
            raise TypeError(
                f"The path comes first and begins with a slash; got {path!r:.80}. Write "
                'HubCommunicator("/ws/garden/") or HubCommunicator("/ws/garden/", application).'
            )
        if isinstance(subprotocols, str):
            raise TypeError(f"subprotocols is a list; write subprotocols=[{subprotocols!r}].")
        self._application = application
        self._scope = websocket_scope(path, subprotocols, headers, client)
        if user is not None:
            self._scope["user"] = user
        self._scope |= scope or {}
        self._timeout = timeout
        self._watch: watch.Watch | None = None
        self._open: AsgiSocket | None = None
        self._session: Session | None = None
        self._hello: dict[str, Any] = {}
        self._items: deque[Any] = deque()
        self._acknowledged = 0
        self._replies: dict[int, Any] = {}
        self._refused: dict[int, HubRefused] = {}
        self._end: HubClosed | None = None
        self.subprotocol: str | None = None

    async def __aenter__(self) -> Self:
        self._watch = watch.enter()
        try:
            return await self.connect()
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        socket, self._open = self._open, None
        watched, self._watch = self._watching(), None
        failure = None
        try:
            if socket is not None:
                failure = await socket.end()
            failure = failure or watched.take_failure()
        finally:
            watch.leave(watched)
        if failure is None or failure is error:
            return
        if error is None:
            raise failure
        error.add_note(f"And the application failed: {failure!r}")

    def __enter__(self) -> NoReturn:
        raise TypeError("HubCommunicator is asynchronous: write 'async with', in an 'async def' test.")

    def __exit__(self, *_: object) -> None:
        """There only so that ``with`` gets as far as the error above."""

    # Of the connection

    @property
    def client_id(self) -> str | None:
        """This client's id in the hub, as the hello of ``hub.v1`` says it; None for a raw client."""
        return self._session.client if self._session else None

    @property
    def hello(self) -> Mapping[str, Any]:
        """The last hello of ``hub.v1``: hub, seq, recovered, resumed and so on; empty for a raw client."""
        return self._hello

    @property
    def presence(self) -> Mapping[str, Present]:
        """Who is there, by client id, as far as this client has read; nobody where `presence` is off."""
        return self._session.presence if self._session else {}

    @property
    def running(self) -> bool:
        """The application has not ended."""
        return self._open is not None and self._open.running

    async def connect(self) -> Self:
        """Open the socket, again after `drop` or a close.

        A client of ``hub.v1`` then returns with its token, and resends what was not acknowledged. Raises
        `HubClosed` where it is refused.
        """
        watched = self._watching()
        if self._open is not None and await self._open.end():
            watched.raise_failure()
        self._end = None
        application: Any = self._application or get_default_application()
        self._open = AsgiSocket(application, dict(self._scope), watched)
        first = await self._open.next(self._timeout)
        if first["type"] != "websocket.accept":
            watched.raise_failure()
            self._end = HubClosed(
                _FORBIDDEN,
                "the handshake was refused with HTTP 403, as by DenyConnection, or by an origin validator: "
                f"the Origin is {dict(self._scope['headers']).get(b'origin', b'').decode()!r}",
            )
            raise self._end
        self.subprotocol = first.get("subprotocol")
        if self.subprotocol == SUBPROTOCOL:
            self._session = self._session or Session()
            self._hello = {}
            self._open.put(self._session.connect())
            await self._heard(lambda: bool(self._hello), self._timeout)
            self._write()
        return self

    async def drop(self) -> None:
        """The connection breaks (1006): a client of ``hub.v1`` may be back within the consumer's grace.

        Returns when the application has ended. What was received stays to be read.
        """
        await self._ended(_LOST)

    async def close(self, code: int = 1000) -> None:
        """The client closes, and leaves. Returns when the application has ended; again does nothing."""
        await self._ended(code)

    # Of messages

    async def send(self, data: Any) -> None:
        """A raw client sends str and bytes as they are, all else as JSON, and waits for nothing.

        A client of ``hub.v1`` sends a JSON value or bytes, and waits until that is in the hub's mailbox; it
        raises `HubRefused` where the client may not send. Raises `HubClosed` where the socket is closed.
        """
        socket = self._socket()
        if self._session is None:
            socket.put(data if isinstance(data, (str, bytes)) else json.dumps(data))
            return
        number = self._session.submit("message", data)
        self._write()
        await self._answered(number, lambda: self._acknowledged >= number, self._timeout)

    async def request(self, data: Any, timeout: float | None = None) -> Any:
        """Send a request of ``hub.v1``, and wait for the handler's `Message.reply`.

        Raises what the handler does, `HubRefused` where the client may not send, `HubClosed` where the
        socket is closed, and `TimeoutError` after ``timeout`` seconds.
        """
        self._socket()
        if self._session is None:
            raise TypeError(
                "A raw client has no requests: open it with HubCommunicator(..., subprotocols=['hub.v1'])."
            )
        number = self._session.submit("request", data)
        self._write()
        wait = self._timeout if timeout is None else timeout
        await self._answered(number, lambda: number in self._replies, wait)
        return self._replies.pop(number)

    async def receive(self, timeout: float | None = None) -> Any:
        """The next message: for a raw client str or bytes, as it came.

        For a client of ``hub.v1`` what the application sent, a JSON value or bytes; or a
        `PresenceChange`, or a `Resync`, in their places. Raises `HubClosed` where the server has closed,
        `TimeoutError` after ``timeout`` seconds.
        """
        self._watching()
        await self._heard(lambda: bool(self._items), self._timeout if timeout is None else timeout)
        return self._items.popleft()

    async def receive_json(self, timeout: float | None = None) -> Any:
        """As `receive`, with JSON in a raw client's text read."""
        data = await self.receive(timeout)
        return data if self._session is not None else json.loads(data)

    def received(self) -> list[Any]:
        """All that has come and was not received yet, without waiting: after `drain`, all there is."""
        self._watching()
        while self._open is not None and self._open.has_message:
            self._take(self._open.taken())
        items = list(self._items)
        self._items.clear()
        return items

    async def closed(self, timeout: float | None = None) -> HubClosed:
        """Wait for the server to close, and return with which code and reason.

        Messages that come before stay to be read.
        """
        self._watching()
        try:
            await self._heard(lambda: False, self._timeout if timeout is None else timeout)
        except HubClosed as end:
            return end
        raise AssertionError("unreachable")

    async def _answered(self, number: int, done: Callable[[], bool], timeout: float) -> None:
        """Read until it is, or that message is refused."""
        await self._heard(lambda: number in self._refused or done(), timeout)
        if (error := self._refused.pop(number, None)) is not None:
            raise error

    async def _heard(self, done: Callable[[], bool], timeout: float) -> None:
        """Read until it is done."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout
        while not done():
            if self._end is not None:
                raise self._end
            self._take(await self._socket().next(max(0.0, until - loop.time())))

    def _take(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "websocket.close":
            end = HubClosed(message.get("code", 1000), message.get("reason") or "")
            if self._session is not None:
                end, _ = self._session.ended(end.code, end.reason)
            self._end = end
            if end.code == closes.FAILED:
                self._watching().raise_failure()
            return
        frame = message["text"] if message.get("text") is not None else message["bytes"]
        if self._session is None:
            self._items.append(frame)
            return
        for told in self._session.read(frame):
            match told:
                case Hello():
                    self._hello = json.loads(frame)
                case Ack(number=number):
                    self._acknowledged = max(self._acknowledged, number)
                case Reply(number=number, data=data):
                    self._replies[number] = data
                case Turned(number=number, error=error):
                    if error.code == closes.FAILED:
                        self._watching().raise_failure()
                    self._refused[number] = error
                case Received(data=data):
                    self._items.append(data)
                case item:
                    self._items.append(item)

    def _write(self) -> None:
        while self._session is not None and (frame := self._session.next_frame()) is not None:
            self._socket().put(frame)

    async def _ended(self, code: int) -> None:
        self._watching()
        if self._open is None:
            return
        failure = await self._open.end(code)
        while self._open.has_message:
            self._take(self._open.taken())
        self._end = self._end or HubClosed(code)
        if self._session is not None:
            self._session.ended(code, "")
        if failure is not None:
            raise failure

    def _watching(self) -> watch.Watch:
        if self._watch is None:
            raise RuntimeError(
                "The socket is not open. A HubCommunicator is used in its block, which closes it whatever "
                "happens: async with HubCommunicator(...) as client: ..."
            )
        return self._watch

    def _socket(self) -> AsgiSocket:
        self._watching()
        if self._open is None:
            raise RuntimeError("The socket is not open.")
        if self._end is not None:
            raise self._end
        return self._open
