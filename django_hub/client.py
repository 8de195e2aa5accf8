"""A client of hubs for Python programs: ``pip install django-hub[client]``.

    async with hub_connect("wss://example.org/ws/room/", headers={"Cookie": "sessionid=..."}) as hub:
        await hub.send({"text": "hello"})
        async for item in hub:
            match item:
                case Received(data=data): ...
                case Resync(): ...  # messages were missed for good: load the data anew
                case PresenceChange(event=event, member=member): ...

It comes back when its connection is lost, until it is closed, as the same member where the server still
knows it, and gets what it missed. A try that failed is a line in the log: the first of a row a warning, the
others INFO.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django_hub import closes
from django_hub.backoff import waits
from django_hub.client_session import (
    Ack,
    BadFrame,
    Hello,
    HubClosed,
    HubQueueFull,
    HubRefused,
    HubTimeout,
    Item,
    PresenceChange,
    Present,
    Received,
    Reply,
    Resync,
    Session,
    Turned,
)
from django_hub.exceptions import InvalidBound
from django_hub.logs import get_logger

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

__all__ = [
    "HubClient",
    "HubClosed",
    "HubQueueFull",
    "HubRefused",
    "HubTimeout",
    "PresenceChange",
    "Present",
    "Received",
    "Resync",
    "hub_connect",
]

logger = get_logger(__name__)

_STEADY = 10.0  # seconds; a connection that lasted this long starts the waits anew


def hub_connect(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    ticket: Callable[[], Awaitable[str]] | None = None,
    first: float = 0.5,
    most: float = 30.0,
    patience: float = 15.0,
    max_queue: int = 1000,
    max_queue_bytes: int = 2**20,
    max_items: int = 1000,
) -> HubClient:
    """A client for ``async with``, which enters when the hub has said hello, however many tries it takes.

    ``headers`` go with each handshake. Where no ``Origin`` is among them it is that of ``url``, as in a
    page of the site: Channels' `AllowedHostsOriginValidator` takes nobody without. ``ticket`` is awaited
    before each connection, for a consumer with ``ticket_required``: a ticket of the server's `hub_ticket`,
    which is good once. Where it fails, that counts as a connection that failed.

    Between two tries it waits a random time below a bound that doubles from ``first`` to ``most`` seconds,
    but is not above the time it has been away, nor past the end of its grace; longer where there was no
    room. A connection has ``patience`` seconds to say hello. ``max_queue`` messages of ``max_queue_bytes``
    may wait for their acknowledgement, and ``max_items`` for the program: of one that reads too slowly
    they are all dropped, and a `Resync` tells it so.

    Raises `HubClosed` where the server refuses for good; `InvalidBound` for a number that is not above 0.
    """
    numbers = {"first": first, "most": most, "patience": patience, "max_queue": max_queue}
    numbers |= {"max_queue_bytes": max_queue_bytes, "max_items": max_items}
    for name, number in numbers.items():
        if not number > 0:
            raise InvalidBound(f"{name} is a number above 0; got {number!r:.80}.")
    session = Session(max_queue, max_queue_bytes)
    return HubClient(url, headers, ticket, (first, most), patience, session, max_items)


class HubClient:
    """Made by `hub_connect`. To be used from one event loop; iterated by one task at a time."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None,
        ticket: Callable[[], Awaitable[str]] | None,
        bounds: tuple[float, float],
        patience: float,
        session: Session,
        max_items: int,
    ) -> None:
        self._url = url
        self._headers = dict(headers or {})
        self._ticket = ticket
        self._bounds = bounds
        self._patience = patience
        self._session = session
        self._max_items = max_items
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._to_write = asyncio.Event()
        self._online = asyncio.Event()
        self._accepted: dict[int, asyncio.Future[Any]] = {}
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._end: HubClosed | None = None
        self._left = False
        self._task: asyncio.Task[None] | None = None
        self._online_since = math.inf

    @property
    def client(self) -> str | None:
        """This client's id in the hub; None before the first hello."""
        return self._session.client

    @property
    def presence(self) -> Mapping[str, Present]:
        """Who is there, by client id; empty where the consumer has presence off."""
        return self._session.presence

    async def send(self, data: Any) -> None:
        """Returns when the message, a JSON value or bytes, is in the hub's mailbox.

        Messages arrive in the order of the calls, once each however often the connection breaks; where the
        server has forgotten this client meanwhile (4401), unacknowledged ones may arrive twice. Cancelling
        it does not take the message back. Raises `HubQueueFull`, `HubRefused` or `HubClosed`, TypeError or
        ValueError for what JSON does not have.
        """
        number = self._submit("message", data)
        await self._wait(self._accepted, number)

    async def request(self, data: Any, timeout: float | None = 30.0) -> Any:
        """The reply. Raises as `send` does, or `HubTimeout` after ``timeout`` seconds.

        One that timed out is not sent, if it has not been.
        """
        number = self._submit("request", data)
        try:
            async with asyncio.timeout(timeout):
                return await self._wait(self._replies, number)
        except TimeoutError:
            raise HubTimeout(f"no reply within {timeout} s") from None
        finally:
            self._session.forget(number)

    async def close(self) -> None:
        """Leave the hub, at once and for good; again does nothing."""
        self._left = True
        self._finish(HubClosed(1000))
        if self._task is not None:
            if not self._task.cancelling():  # a second one would cut its farewell short
                self._task.cancel()
            # Not `await self._task`: that would end like our caller's own cancellation.
            await asyncio.wait([self._task])

    async def __aenter__(self) -> HubClient:
        if self._task is not None or self._left:
            raise RuntimeError("A client is entered once; call hub_connect() for each block.")
        try:
            from websockets.asyncio import client  # noqa: F401
        except ImportError as error:
            raise ImportError(
                "django_hub.client needs websockets: pip install 'django-hub[client]'"
            ) from error
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._ran)
        try:
            await self._online.wait()
        except BaseException:
            await self.close()
            raise
        self._check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> HubClient:
        return self

    async def __anext__(self) -> Item:
        """The next item, in the hub's order. Ends after `close`; `HubClosed` where the server closed."""
        while not self._items:
            if self._left:
                raise StopAsyncIteration
            self._check()
            self._arrived.clear()
            await self._arrived.wait()
        return self._items.popleft()

    def _check(self) -> None:
        """Raises `HubClosed` where it is: a new one each time, for a traceback grows with each raise."""
        if self._end is not None:
            raise HubClosed(self._end.code, self._end.reason) from self._end.__cause__
        if self._task is None:
            raise RuntimeError(
                "Nothing connects before it is entered: async with hub_connect(...) as hub: ..."
            )

    def _submit(self, kind: Any, data: Any) -> int:
        self._check()
        number = self._session.submit(kind, data)
        self._to_write.set()
        return number

    async def _wait(self, waiting: dict[int, asyncio.Future[Any]], number: int) -> Any:
        future = waiting[number] = asyncio.get_running_loop().create_future()
        try:
            return await future
        finally:
            del waiting[number]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        times = waits(*self._bounds)
        away_since = loop.time()
        level = logging.WARNING
        while True:
            self._online_since = math.inf
            end, again = self._session.ended(*await self._connection())
            if not again:
                return self._finish(end)
            if loop.time() - self._online_since > _STEADY:
                times = waits(*self._bounds)
                away_since = loop.time()
                level = logging.WARNING
            wait = self._wait_of(next(times), loop.time() - away_since)
            told = "No connection to %s: %d %s; tries again in %.1f s"
            logger.log(level, told, _shown(self._url), end.code, end.reason, wait)
            level = logging.INFO
            await asyncio.sleep(wait)

    def _wait_of(self, seconds: float, away: float) -> float:
        """How long to wait after ``away`` seconds, where it would be ``seconds`` by the number of tries."""
        first, most = self._bounds
        if self._session.crowded:
            return max(seconds, most * random.uniform(1 / 8, 1 / 4))  # noqa: S311
        # Not longer than it has been away, nor past the end of its grace: lucky short waits before make no
        # long one now.
        left = self._session.grace - away
        bound = max(first, min(away, left) if left > 0 else away)
        return seconds if seconds <= bound else random.uniform(0, bound)  # noqa: S311

    def _ran(self, task: asyncio.Task[None]) -> None:
        # A bug, or a URL that can't be one: whoever waits is told, instead of waiting for ever.
        if not task.cancelled() and (error := task.exception()) is not None:
            end = HubClosed(closes.BROKEN, repr(error))
            end.__cause__ = error
            self._finish(end)

    async def _connection(self) -> tuple[int, str]:
        """One connection from its opening to its end: code and reason."""
        from websockets.exceptions import ConnectionClosed

        from django_hub.client_socket import closed, opened

        socket = await opened(self._url, self._headers, self._ticket, self._patience)
        if isinstance(socket, tuple):
            return socket
        code, reason = 1000, ""
        try:
            code, reason = await self._listen(socket)
        except ConnectionClosed as error:
            code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (closes.BROKEN, "")
        finally:
            # With SILENT it leaves a connection it will replace: the server keeps its place for its grace.
            await closed(socket, code if code == closes.SILENT else 1000, reason)
        return code, reason

    async def _listen(self, socket: ClientConnection) -> tuple[int, str]:
        """Reads until there is nothing more to hear; raises ConnectionClosed where the server closed."""
        from websockets.exceptions import ConnectionClosed

        loop = asyncio.get_running_loop()
        heartbeat = self._patience
        ping_at = float("inf")
        silent_at = loop.time() + self._patience
        writer: asyncio.Task[None] | None = None
        # One that is refused at once is told why before it has said anything: that is still to be read.
        with contextlib.suppress(ConnectionClosed):
            await socket.send(self._session.connect())
        try:
            while True:
                try:
                    async with asyncio.timeout_at(min(ping_at, silent_at)):
                        frame = await socket.recv()
                except TimeoutError:
                    if loop.time() >= silent_at:
                        return closes.SILENT, "nothing heard"
                    # By the writer: a line that takes no more must not keep us from seeing that it is dead.
                    self._session.ping()
                    self._to_write.set()
                    silent_at = min(silent_at, loop.time() + 1.5 * heartbeat)
                    ping_at = loop.time() + heartbeat
                    continue
                if writer is not None:
                    silent_at = float("inf")
                try:
                    heard = self._session.read(frame)
                except BadFrame as error:
                    return closes.SILENT, str(error)
                for told in heard:
                    if isinstance(told, Hello):
                        heartbeat = told.heartbeat
                        self._online_since = loop.time()
                        ping_at, silent_at = loop.time() + heartbeat, float("inf")
                        writer = asyncio.create_task(self._write(socket))
                        self._online.set()
                    else:
                        self._take(told)
        finally:
            if writer is not None:
                writer.cancel()
                await asyncio.wait([writer])

    async def _write(self, socket: ClientConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        # The reader hears of the end too, and says how it was.
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._to_write.clear()
                while (frame := self._session.next_frame()) is not None:
                    await socket.send(frame)
                await self._to_write.wait()

    def _take(self, told: Reply | Ack | Turned | Item) -> None:
        match told:
            case Ack(number=last):
                for number, accepted in self._accepted.items():
                    if number <= last and not accepted.done():
                        accepted.set_result(None)
            case Turned(number=number, error=error):
                for waiting in (self._accepted.get(number), self._replies.get(number)):
                    if waiting is not None and not waiting.done():
                        waiting.set_exception(error)
            case Reply(number=number, data=data):
                reply = self._replies.get(number)
                if reply is not None and not reply.done():
                    reply.set_result(data)
            case _:
                if len(self._items) >= self._max_items:
                    self._items.clear()
                    told = Resync(reason=f"the program left {self._max_items} items unread (max_items)")
                self._items.append(told)
                self._arrived.set()

    def _finish(self, end: HubClosed) -> None:
        if self._end is not None:
            return
        self._end = end
        for future in [*self._accepted.values(), *self._replies.values()]:
            if not future.done():
                future.set_exception(HubClosed(end.code, end.reason))
        self._arrived.set()
        self._online.set()


def _shown(url: str) -> str:
    """Without user, password and tokens: they are nobody's business who reads the log."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path
