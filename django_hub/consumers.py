"""HubConsumer: a websocket consumer whose client is in a hub."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from channels.consumer import AsyncConsumer
from channels.exceptions import DenyConnection
from django.core.exceptions import ImproperlyConfigured

from django_hub import closes
from django_hub.access import Access
from django_hub.bounds import Bounds, WhenSlow
from django_hub.conf import get_settings, require_type
from django_hub.connection import Connection, Departure, seen_from, user_id
from django_hub.conversation import Conversation
from django_hub.departures import departure_of, departure_waiting
from django_hub.envelopes import SUBPROTOCOL, closing
from django_hub.envelopes import message as envelope
from django_hub.exceptions import InvalidBound, InvalidName, Refused
from django_hub.hooks import DECIDED_WITHIN, require_async
from django_hub.logs import get_logger
from django_hub.members import plain_meta
from django_hub.messages import Close, Sendable, encode, is_longer
from django_hub.names import (
    DEFAULT_EVENTS,
    new_client_id,
    require_client_id,
    require_events_channel,
    require_key,
    require_open_hub_name,
)
from django_hub.rates import Bucket
from django_hub.readahead import Meanwhile, ReadAhead, SocketEnded
from django_hub.rechecks import RECENT
from django_hub.relay import Relay, get_relay
from django_hub.spans import received
from django_hub.tickets import choose, offered, redeem
from django_hub.visitors import Visitor
from django_hub.wires.base import Outgoing, Wire
from django_hub.wires.held import HeldWire

logger = get_logger(__name__)


_LIMITS = {
    "max_message_bytes": "int",
    "rate": "float | None",
    "burst": "int",
    "heartbeat": "float",
    "max_members": "int | None",
    "presence": "bool",
}

_HOOKS = ("get_hub", "get_client_id", "get_meta", "authorize", "may_send", "may_receive", "on_message")

_Message = dict[str, Any]
_Receive = Callable[[], Awaitable[_Message]]


@functools.cache
def _tell_once(error: str) -> None:
    """A server shows what its application raised for each socket, deep in a traceback of its own."""
    logger.critical("No client can join: %s See manage.py check.", error)


class HubConsumer(Access, AsyncConsumer):
    """Puts its client into a hub, and what the client sends into the hub's mailbox.

    Route it as any consumer: ``path("ws/<hub>/", MyConsumer.as_asgi())``. What happens to the client is
    handled by the `HubEvents` on the channel ``events``.

    A socket that may not join is first accepted and then closed with a code that says why: 4403 if
    `authorize` says no, 1011 if a hook fails, 4400 for a hub name or client id that can't be one, and any
    other by raising `Refused`. Refusing before would show browsers nothing but 1006, the same as a server
    that is down, and they'd come back for ever. `channels.exceptions.DenyConnection` in a hook still
    refuses with HTTP 403.

    Order: the `Joined` of a client comes before its first message, its messages in the order they were
    sent, its `Left` last. A message counts as accepted when `on_message` has returned. Until then the
    socket is not read; where the server can't stop reading, a client of which too much waits is closed
    with 1013.
    """

    #: The channel whose worker handles the events of its hubs.
    events: ClassVar[str] = DEFAULT_EVENTS
    # Limits of a client. Those that can be none raise `ImproperlyConfigured` when the class is made.

    #: A longer message closes the socket with 1009, before anything looks into it. In bytes. Clients of
    #: ``hub.v1`` know it: they refuse to send that one, and stay.
    max_message_bytes: ClassVar[int] = 65536
    #: A client may send ``burst`` messages at once, and ``rate`` a second in the long run. One that sends
    #: more is held back: its socket is not read until its next message is due. If it does not heed that
    #: for more than ``burst`` messages, it is closed with 4429. ``rate = None``: no limit.
    rate: ClassVar[float | None] = 100.0
    burst: ClassVar[int] = 1000
    _bounds: ClassVar[Bounds] = Bounds()
    #: What may wait for a client, and what becomes of one for which more does: see `Bounds`.
    max_queue_bytes: ClassVar[int] = _bounds.max_queue_bytes
    max_queue_messages: ClassVar[int] = _bounds.max_queue_messages
    when_slow: ClassVar[WhenSlow] = _bounds.when_slow

    #: A hub that has so many members takes no newcomer: closed with 4433. None: any number. How many
    #: sockets a user or an address may have, over all consumers, DJANGO_HUB says: docs/howto/limits.md.
    max_members: ClassVar[int | None] = None

    # Of clients that speak the subprotocol ``hub.v1``, as `hub.js` does; all others are raw.

    #: A client that lost its connection and is back within so many seconds is the same client: no
    #: `Left` and no `Joined`, but `Lost` and `Resumed`. 0: every reconnect is a new client.
    grace: ClassVar[float] = 15.0
    #: Show clients who is in the hub, and each change: see `docs/reference/protocol.md`.
    presence: ClassVar[bool] = False
    #: The client shows every so many seconds that it is there; silent for 2.5 times that, it is lost. Not
    #: less than 25 for pages: Chrome wakes one that is hidden once a minute.
    heartbeat: ClassVar[float] = 25.0

    #: The hub's name and the client's id: set before `on_message` is called.
    hub: str
    client_id: str

    _connection: Connection
    _asked: float
    _given: bool
    _meta: dict[str, Any]
    _relay: Relay
    _since: float
    _talk: Conversation | None
    _visitor: Visitor
    _wire: Wire

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        require_async(cls, _HOOKS)
        require_events_channel(cls.events)
        for name, kind in _LIMITS.items():
            require_type(f"{cls.__name__}.{name}", getattr(cls, name), kind)
        if cls.grace != 0:
            require_type(f"{cls.__name__}.grace", cls.grace, "float")
        try:
            cls._bounds = Bounds(
                max_queue_bytes=cls.max_queue_bytes,
                max_queue_messages=cls.max_queue_messages,
                when_slow=cls.when_slow,
            )
        except InvalidBound as error:
            raise ImproperlyConfigured(f"{cls.__name__}.{error}") from None

    # Hooks

    async def get_hub(self) -> str:
        """The name of the hub to join. Default: the ``hub`` of the url route."""
        try:
            name: str = self.scope["url_route"]["kwargs"]["hub"]
        except KeyError:
            raise ImproperlyConfigured(
                f"{type(self).__name__} finds no 'hub' in its url route. Route it with one, as in "
                'path("ws/<hub>/", ...), or override get_hub().'
            ) from None
        return name

    async def get_client_id(self) -> str | None:
        """The client's id in the hub; None for a new one. The newest connection of an id stays, the older
        is closed with 4409."""
        return None

    async def get_meta(self) -> dict[str, Any]:
        """What others may know of the client, as a dict of JSON values: `Member.meta`, `Joined.meta`.

        It goes along with each event of the client. One of more than 64 KiB as JSON is logged, and the
        client closed with 1011, as where this fails.
        """
        return {}

    async def on_message(self, data: str | bytes) -> None:
        """Take what the client sent: str for a text frame, bytes for a binary one. Default: `post` it.

        The next message is read when it returns. If it raises `Refused`, the socket is closed as that says
        and the client leaves with ``close``: the message does not count as accepted, so a client of
        ``hub.v1`` that is to come back sends it again. If it raises anything else, that is logged and the
        client leaves with ``read``; its socket is closed with 1011.
        """
        await self.post(data)

    def _named(self, hub: object) -> str:
        return require_open_hub_name(hub)

    # What `on_message` may call

    async def post(self, data: str | bytes) -> bool:
        """Put a message into the hub's mailbox. True: its handler will get it.

        Waits while the mailbox is full. False: the client is no longer a member. What `on_message` posts
        of a message that a client of ``hub.v1`` sends again is taken once, as far as its first 1,023
        posts; what is posted elsewhere is always taken, and no part of a request.
        """
        return await self._relay.clients.post(self._connection, data)

    async def send(self, message: Sendable, *, key: str = "") -> bool:  # type: ignore[override]
        """Send to this client alone, past the hub. False: its socket is closed. ``key``: see `Bounds`.

        Raises `InvalidMessage` for what can't be sent, and above 16 MiB. Never waits.
        """
        frame = encode(message, get_settings().encoder)
        require_key(key)
        if isinstance(frame, Close):
            return self._connection.close(frame.code, frame.reason)
        if self._talk is not None:
            frame = envelope(frame)
        return self._connection.write(Outgoing(frame, key=key))

    async def close(self, code: int = 1000, reason: str = "") -> bool:
        """Close the socket behind what was sent. False: it is closed.

        Raises `InvalidMessage` for a code or reason that can't be sent.
        """
        return self._connection.close(code, reason)

    # The life of the socket. Not Channels' own dispatch: that takes two tasks a connection, a channel of
    # the layer, and a thread hop a message; and nothing of it runs after an exception.

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        if (await receive())["type"] != "websocket.connect":
            return
        self._since = asyncio.get_running_loop().time() - RECENT
        try:
            get_settings().encoder  # noqa: B018 (it is looked up here)
        except ImproperlyConfigured as error:
            _tell_once(str(error))
            raise
        self._relay = get_relay()
        with Visitor(self._relay.places, scope) as self._visitor:
            await self._serve(receive, send)

    async def _serve(self, receive: Any, send: Any) -> None:
        chosen = choose(self.scope.get("subprotocols") or (), SUBPROTOCOL)
        spoken = chosen == SUBPROTOCOL
        refusal = self._visitor.knock(returns=spoken)
        if refusal is None:
            try:
                refusal = await self._introduce()
            except DenyConnection:
                self._visitor.turned_away()
                await send({"type": "websocket.close"})
                return
            if refusal is not None:
                self._visitor.turned_away()
        await send({"type": "websocket.accept", **({"subprotocol": chosen} if chosen else {})})
        if chosen == "":
            refusal = refusal or Refused(
                closes.UNKNOWN_SUBPROTOCOL, f"the subprotocol is {SUBPROTOCOL}, or none"
            )
        self._wire = self._relay.wires.wire_for(send)
        if spoken:
            self._talk = Conversation(
                self._relay, self._wire, self.scope, self.heartbeat, self.max_message_bytes
            )
        else:
            self._talk = None
        if refusal is not None:
            self._refuse(refusal)
        elif self._relay.wires.stops_reading(send):
            await self._live(receive)
        else:
            with ReadAhead(receive, self._flooded) as ahead:
                await self._live(ahead)
        # A server takes our return for the end of the socket: a Close under way goes first. What it holds
        # for a client that reads nothing any more it would hold for ever.
        try:
            async with asyncio.timeout(get_settings().SHUTDOWN_GRACE):
                await self._wire.drained()
        except TimeoutError:
            self._wire.abort()

    async def _introduce(self) -> Refused | None:
        """Ask the hooks who this is and whether it may join; a refusal, or None."""
        if self._relay.draining:
            return Refused(closes.SERVICE_RESTART, "the server restarts")
        try:
            async with asyncio.timeout(DECIDED_WITHIN):
                self.hub = self._named(await self.get_hub())
                await self._redeem()
                client_id = await self.get_client_id()
                self._given = client_id is not None
                self.client_id = new_client_id() if client_id is None else require_client_id(client_id)
                if (refusal := await self._decide()) is not None:
                    return refusal
                self._meta = plain_meta(await self.get_meta(), get_settings().encoder)
            return None
        except Refused as refusal:
            return refusal
        except InvalidName as error:
            return Refused(closes.BAD_REQUEST, str(error))
        except (DenyConnection, ImproperlyConfigured):
            raise
        except Exception:
            logger.exception("%s failed while it let a client in; refused", type(self).__name__)
        # Not for good: a database is away for a moment, and a client of hub.v1 is to come back.
        return Refused(closes.FAILED, "the server failed")

    async def _redeem(self) -> None:
        """Who brings a ticket is its user, whatever its cookies say."""
        ticket = offered(self.scope.get("subprotocols") or ())
        if ticket is not None:
            user = await redeem(ticket, self.hub, self._relay.store)
            self.scope = {**self.scope, "user": user, "session": None}
            self._visitor.is_user(user_id(self.scope))
        elif self.ticket_required:
            raise Refused(closes.BAD_TOKEN, "this needs a ticket", reconnect=False)

    async def check_again(self, user: Any, granted: Mapping[str, bool]) -> Refused | None:
        """Ask the hooks once more, of a user loaded anew; a refusal, or None. The relay calls it."""
        self.scope["user"] = user
        self._granted = granted
        try:
            refusal = await self._decide()
        finally:
            del self._granted
        connection = self._connection
        returns = self._may_receive and not connection.hears
        self._relay.fanout.let_hear(connection, self._may_receive)
        if returns and connection.session and connection.left is None:
            # What it missed it gets with a new hello, as far as there is history; and the list of members.
            connection.close(closes.SERVICE_RESTART, "may receive again")
        return refusal

    async def _live(self, receive: _Receive) -> None:
        meanwhile = Meanwhile(receive)
        try:
            if await self._let_in(receive, meanwhile):
                await self._stay(meanwhile if meanwhile.has_waited else receive)
        except SocketEnded:
            return
        except Refused as refusal:
            self._refuse(refusal)
        finally:
            meanwhile.close()

    async def _let_in(self, receive: _Receive, meanwhile: Meanwhile) -> bool:
        """Ask all that stands before a Join. False: it is gone. Raises `Refused`, `SocketEnded`."""
        if self._talk is not None:
            client_id = await self._talk.opened(receive, self.hub, self.client_id, self._given)
            if client_id is None:
                return False
            self.client_id = client_id
        user = user_id(self.scope)
        self._asked = asyncio.get_running_loop().time()
        ban = await self._relay.exclusions.of(self.hub, self.client_id, user, meanwhile.sleep)
        if ban is not None:
            raise ban
        if self._talk is not None and self._talk.returns:
            await self._visitor.enter_again(self._relay.store, self.hub, self.client_id, self._talk.session)
        else:
            await self._visitor.enter(self.hub)
        return True

    async def _stay(self, receive: _Receive) -> None:
        user = user_id(self.scope)
        connection = self._connection = Connection(
            hub=self.hub,
            client_id=self.client_id,
            meta=self._meta,
            user_id=user,
            events=self.events,
            wire=self._wire,
            bounds=self._bounds,
            session=self._talk.session if self._talk else "",
            grace=self.grace if self._talk else 0.0,
            presence=self.presence,
            most=self.max_members,
            address=seen_from(self.scope, get_settings().PROXIES),
        )
        if self._talk is not None:
            connection.wire = HeldWire(self._wire)
        connection.hears = self._may_receive
        del self._meta  # it is the connection's
        late = self._relay.rechecks.watch(connection, self.scope, user, self._since, self._asked, self)
        if late is not None:
            raise late
        connection.reader = asyncio.current_task()
        departure = Departure(reason="shutdown")
        try:
            try:
                joined = await self._relay.clients.join(connection)
            except Refused as refusal:
                self._visitor.met_a_full(self.hub, refusal)
                self._refuse(refusal)
                # It was no member: that it leaves changes nothing in the store, and nobody is told.
                departure = Departure(reason="replaced")
                return
            if self._talk is not None:
                await self._talk.welcome(connection, self.presence)
            if joined:
                departure = await self._read(receive)
            else:
                departure = Departure(reason="close")
        except asyncio.CancelledError:
            if connection.reader is None:
                # We do it ourselves where a client does not answer to its end.
                error = "the client did not answer its close"
                departure = Departure(reason="read", code=closes.BROKEN, error=error)
            else:
                # Daphne cancels when it stops, and also when we are busy too long after the socket ended.
                departure = departure_waiting(receive) or departure
                if connection.left is None:
                    raise
        except Exception as error:
            logger.exception(
                "%s failed on a message of %s in hub %s",
                type(self).__name__,
                self.client_id,
                self.hub,
            )
            departure = Departure(
                reason="read", code=closes.FAILED, error=f"{type(error).__name__}: {error}"
            )
            connection.close(closes.FAILED)
        finally:
            connection.reader = None
            if self._talk is not None:
                self._talk.close()
            self._visitor.leave()
            await self._leave(departure)

    async def _read(self, receive: _Receive) -> Departure:
        connection = self._connection
        bucket: Bucket | None = None
        while True:
            connection.listening = True
            message = await receive()
            connection.listening = False
            if message["type"] == "websocket.disconnect":
                return departure_of(message, connection.wire.closed_by_us)
            # What a client still sent to a socket that we closed is nobody's.
            if connection.wire.closed or connection.left is not None:
                continue
            data = message.get("text")
            if data is None:
                data = message.get("bytes") or b""
            if is_longer(data, self.max_message_bytes):
                self._end(closes.TOO_BIG, f"a message may have {self.max_message_bytes} bytes")
                continue
            if self.rate is not None:
                if bucket is None:
                    bucket = Bucket(self.rate, self.burst)
                wait = bucket.take(time.monotonic())
                if wait and not await self._held_back(wait, bucket):
                    continue
            try:
                if self._talk is not None:
                    await self._talk.take(connection, data, self._received if self._may_send else None)
                elif self._may_send:
                    await self._received(data)
                else:
                    self._end(closes.FORBIDDEN, "this client may not send")
            except Refused as refusal:
                self._end(refusal.code, refusal.reason, refusal.reconnect)

    def _received(self, data: str | bytes) -> Awaitable[None]:
        return received(self.on_message, self.hub, data)

    def _refuse(self, refusal: Refused) -> None:
        """Close a socket that is no member, and say why."""
        close = Close(refusal.code, refusal.reason).shortened()
        if self._talk is not None:
            self._wire.write(Outgoing(closing(close, refusal.reconnect)))
        self._wire.write(Outgoing(close))

    async def _held_back(self, seconds: float, bucket: Bucket) -> bool:
        """Wait, for nothing is read meanwhile. False: the socket was closed, by this or another."""
        connection = self._connection
        if bucket.overdrawn:
            logger.warning(
                "%s in hub %s is closed: it sends more than %s messages a second",
                self.client_id,
                self.hub,
                self.rate,
            )
            self._end(closes.TOO_MANY, "too many messages")
            return False
        await asyncio.sleep(seconds)
        return not connection.wire.closed and connection.left is None

    def _flooded(self) -> None:
        logger.warning("%s in hub %s is closed: it sends more than is taken", self.client_id, self.hub)
        self._end(closes.TRY_AGAIN_LATER, "try again later")

    def _end(self, code: int, reason: str, reconnect: bool | None = None) -> None:
        """Close the socket of a client that keeps no bound. It is read on, to its answer."""
        connection = self._connection
        connection.close(code, reason, reconnect=reconnect)
        connection.ended(connection, Departure(reason="close", code=code))

    async def _leave(self, departure: Departure) -> None:
        """Leave, and wait for the store to know: but not for ever, and going on if we are cancelled."""
        grace = get_settings().SHUTDOWN_GRACE
        await asyncio.wait([self._relay.clients.leave(self._connection, departure)], timeout=grace)
        if departure.reason == "shutdown":
            await asyncio.wait([asyncio.create_task(self._relay.close())], timeout=grace)
