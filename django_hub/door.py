"""The door: who comes is asked who it is, and let in or turned away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, Protocol

from channels.exceptions import DenyConnection
from django.core.exceptions import ImproperlyConfigured

from django_hub import closes
from django_hub.access import Access, Guarded
from django_hub.bounds import Bounds
from django_hub.conf import get_settings
from django_hub.connection import Connection
from django_hub.conversation import Conversation
from django_hub.envelopes import SUBPROTOCOL
from django_hub.exceptions import InvalidName, Refused
from django_hub.hooks import DECIDED_WITHIN, is_our_end, require_text
from django_hub.intake import Speaker
from django_hub.logs import get_logger
from django_hub.members import plain_meta
from django_hub.names import new_client_id, require_client_id
from django_hub.readahead import Meanwhile, ReadAhead, Receive, SocketEnded
from django_hub.relay import Relay
from django_hub.scopes import seen_from, user_id
from django_hub.stay import Stay, refuse
from django_hub.tickets import choose, offered, redeem
from django_hub.visitors import Visitor
from django_hub.watched import Checkable
from django_hub.wires.base import Wire

logger = get_logger(__name__)

_Send = Callable[[dict[str, Any]], Awaitable[None]]


class Host(Checkable, Guarded, Speaker, Protocol):
    """A consumer, as the door knows it."""

    events: ClassVar[str]
    ticket_required: ClassVar[bool]
    max_members: ClassVar[int | None]
    grace: ClassVar[float]
    presence: ClassVar[bool]
    heartbeat: ClassVar[float]
    hub: str
    client_id: str

    async def get_hub(self) -> str: ...

    async def get_client_id(self) -> str | None: ...

    async def get_meta(self) -> dict[str, Any]: ...


class Door:
    """One socket's, whose consumer is the ``host``. ``since``: its user was not loaded before, by the
    loop's clock. ``named`` says which names a hub may have here; it raises `InvalidName`."""

    __slots__ = (
        "_access",
        "_asked",
        "_bounds",
        "_given",
        "_host",
        "_meta",
        "_named",
        "_relay",
        "_since",
        "_stay",
        "_talk",
        "_visitor",
        "_wire",
    )

    _meta: dict[str, Any]
    _wire: Wire

    def __init__(
        self,
        host: Host,
        access: Access,
        relay: Relay,
        visitor: Visitor,
        named: Callable[[object], str],
        bounds: Bounds,
        since: float,
    ) -> None:
        self._host = host
        self._access = access
        self._relay = relay
        self._visitor = visitor
        self._named = named
        self._bounds = bounds
        self._since = since
        self._asked = since
        # The client id is the project's own.
        self._given = False
        self._talk: Conversation | None = None
        self._stay: Stay | None = None

    async def open(
        self, receive: Receive, send: _Send, enter: Callable[[Stay, Receive], Awaitable[None]]
    ) -> None:
        """Answer the handshake. Who is let in is given to ``enter``, which lasts as long as it stays.

        Raises `ImproperlyConfigured`, and what ``send`` raises.
        """
        chosen = choose(self._host.scope.get("subprotocols") or (), SUBPROTOCOL)
        speaks = chosen == SUBPROTOCOL
        refusal = self._visitor.knock(returns=speaks)
        if refusal is None:
            try:
                refusal = await self._by_hooks(self._introduced())
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
        wires = self._relay.wires
        self._wire = wires.wire_for(send)
        if speaks:
            host = self._host
            self._talk = Conversation(
                self._relay, self._wire, host.scope, host.heartbeat, host.max_message_bytes
            )
        if refusal is not None:
            self._refuse(refusal)
        elif wires.stops_reading(send):
            await self._go_through(receive, enter)
        else:
            with ReadAhead(receive, self._flooded) as ahead:
                await self._go_through(ahead, enter)
        # A server takes our return for the end of the socket: a Close under way goes first. What it holds
        # for a client that reads nothing any more it would hold for ever.
        try:
            async with asyncio.timeout(get_settings().SHUTDOWN_GRACE):
                await self._wire.drained()
        except TimeoutError:
            self._wire.abort()

    async def _introduced(self) -> Refused | None:
        """Ask the hooks who this is and whether it may join; a refusal, or None."""
        host = self._host
        if self._relay.draining:
            return Refused(closes.SERVICE_RESTART, "the server restarts")
        name = type(host).__name__
        host.hub = self._named(require_text(f"{name}.get_hub", await host.get_hub()))
        await self._redeem()
        client_id = await host.get_client_id()
        self._given = client_id is not None
        host.client_id = (
            new_client_id()
            if client_id is None
            else require_client_id(require_text(f"{name}.get_client_id", client_id))
        )
        return await self._decided()

    async def _decided(self) -> Refused | None:
        """Ask the hooks that know the client's id."""
        refusal = await self._access.ask(self._host)
        if refusal is None:
            self._meta = plain_meta(await self._host.get_meta(), get_settings().encoder)
        return refusal

    async def _by_hooks(self, asked: Coroutine[Any, Any, Refused | None]) -> Refused | None:
        """As those answer; where they fail, a refusal. Raises `DenyConnection`, `ImproperlyConfigured`."""
        try:
            async with asyncio.timeout(DECIDED_WITHIN):
                return await asked
        except Refused as refusal:
            return refusal
        except InvalidName as error:
            return Refused(closes.BAD_REQUEST, str(error))
        except (DenyConnection, ImproperlyConfigured):
            raise
        except (Exception, asyncio.CancelledError) as error:
            if is_our_end(error):
                raise
            logger.exception("%s failed while it let a client in; refused", type(self._host).__name__)
        # Not for good: a database is away for a moment, and a client of hub.v1 is to come back.
        return Refused(closes.FAILED, "the server failed")

    async def _redeem(self) -> None:
        """Who brings a ticket is its user, whatever its cookies say."""
        host = self._host
        ticket = offered(host.scope.get("subprotocols") or ())
        if ticket is not None:
            user = await redeem(ticket, host.hub, self._relay.store)
            host.scope = {**host.scope, "user": user, "session": None}
            self._visitor.is_user(user_id(host.scope))
        elif host.ticket_required:
            raise Refused(closes.BAD_TOKEN, "this needs a ticket", reconnect=False)

    async def _go_through(
        self, receive: Receive, enter: Callable[[Stay, Receive], Awaitable[None]]
    ) -> None:
        meanwhile = Meanwhile(receive)
        try:
            if await self._is_let_in(receive, meanwhile):
                self._stay = self._begun()
                await enter(self._stay, meanwhile if meanwhile.has_waited else receive)
        except SocketEnded:
            return
        except Refused as refusal:
            self._visitor.turned_away()
            self._refuse(refusal)
        finally:
            meanwhile.close()

    async def _is_let_in(self, receive: Receive, meanwhile: Meanwhile) -> bool:
        """Ask all that stands before a Join. False: it is gone. Raises `Refused`, `SocketEnded`."""
        host = self._host
        if self._talk is not None:
            client_id = await self._talk.opened(receive, host.hub, host.client_id, self._given)
            if client_id is None:
                return False
            if client_id != host.client_id:
                await self._is_back_as(client_id)
        self._asked = asyncio.get_running_loop().time()
        ban = await self._relay.exclusions.of(
            host.hub, host.client_id, user_id(host.scope), meanwhile.sleep
        )
        if ban is not None:
            raise ban
        if self._talk is not None and self._talk.returns:
            await self._visitor.enter_again(self._relay.store, host.hub, host.client_id, self._talk.session)
        else:
            await self._visitor.enter(host.hub)
        return True

    async def _is_back_as(self, client_id: str) -> None:
        """By its token it is another than the one the hooks were asked of. Raises `Refused`."""
        self._host.client_id = client_id
        try:
            refusal = await self._by_hooks(self._decided())
        except DenyConnection:
            refusal = Refused(closes.FORBIDDEN, "not allowed")
        if refusal is not None:
            raise refusal

    def _begun(self) -> Stay:
        """Its stay, from now on seen to when rights change. Raises `Refused`, where one just did."""
        host, talk = self._host, self._talk
        user = user_id(host.scope)
        connection = Connection(
            hub=host.hub,
            client_id=host.client_id,
            meta=self._meta,
            user_id=user,
            events=host.events,
            wire=self._wire,
            bounds=self._bounds,
            session=talk.session if talk else "",
            grace=host.grace if talk else 0.0,
            presence=host.presence,
            most=host.max_members,
            address=seen_from(host.scope, get_settings().PROXIES),
        )
        del self._meta  # it is the connection's
        stay = Stay(self._relay, self._visitor, connection, talk, self._access)
        late = self._relay.rechecks.watch(connection, host.scope, user, self._since, self._asked, host)
        if late is not None:
            raise late
        return stay

    def _refuse(self, refusal: Refused) -> None:
        refuse(self._wire, refusal, speaks=self._talk is not None)

    def _flooded(self) -> None:
        logger.warning(
            "%s in hub %s is closed: it sends more than is taken", self._host.client_id, self._host.hub
        )
        refusal = Refused(closes.TRY_AGAIN_LATER, "try again later")
        if self._stay is None:
            self._refuse(refusal)
        else:
            self._stay.put_out(refusal)
