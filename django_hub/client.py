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
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any

from django_hub import closes
from django_hub.client_connections import Connections
from django_hub.client_errors import HubClosed, HubQueueFull, HubRefused, HubTimeout
from django_hub.client_items import Item, PresenceChange, Present, Received, Resync
from django_hub.client_session import Ack, Hello, Reply, Session, Told, Turned
from django_hub.exceptions import InvalidBound

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

    Raises `HubClosed` where the server refuses for good; `InvalidBound` for a number that is not above 0;
    `TypeError` for a ticket itself.
    """
    if ticket is not None and not callable(ticket):
        raise TypeError(
            "ticket is an async function that asks the site for one, for each is good once; "
            f"got {type(ticket).__name__}."
        )
    numbers = {"first": first, "most": most, "patience": patience, "max_queue": max_queue}
    numbers |= {"max_queue_bytes": max_queue_bytes, "max_items": max_items}
    for name, number in numbers.items():
        if not number > 0:
            raise InvalidBound(f"{name} is a number above 0; got {number!r:.80}.")
    session = Session(max_queue, max_queue_bytes)
    connections = Connections(url, dict(headers or {}), ticket, (first, most), patience, session)
    return HubClient(session, connections, max_items)


class HubClient:
    """Made by `hub_connect`. To be used from one event loop; iterated by one task at a time."""

    def __init__(self, session: Session, connections: Connections, max_items: int) -> None:
        self._session = session
        self._connections = connections
        self._max_items = max_items
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._online = asyncio.Event()
        self._accepted: dict[int, asyncio.Future[Any]] = {}
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._end: HubClosed | None = None
        self._left = False
        self._task: asyncio.Task[None] | None = None

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
        self._connections.write()
        return number

    async def _wait(self, waiting: dict[int, asyncio.Future[Any]], number: int) -> Any:
        future = waiting[number] = asyncio.get_running_loop().create_future()
        try:
            return await future
        finally:
            del waiting[number]

    async def _run(self) -> None:
        self._finish(await self._connections.run(self._hear))

    def _ran(self, task: asyncio.Task[None]) -> None:
        # A bug, or a URL that can't be one: whoever waits is told, instead of waiting for ever.
        if not task.cancelled() and (error := task.exception()) is not None:
            end = HubClosed(closes.BROKEN, repr(error))
            end.__cause__ = error
            self._finish(end)

    def _hear(self, told: Told) -> None:
        match told:
            case Hello():
                self._online.set()
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
