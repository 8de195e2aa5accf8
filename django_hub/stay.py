"""A client's stay in a hub: it joins, says what it has to say, and leaves."""

from __future__ import annotations

import asyncio

from django_hub import closes
from django_hub.access import Access
from django_hub.conf import get_settings
from django_hub.connection import Connection
from django_hub.conversation import Conversation
from django_hub.departures import Departure, departure_waiting
from django_hub.envelopes import closing
from django_hub.envelopes import message as envelope
from django_hub.exceptions import Refused
from django_hub.hooks import is_our_end
from django_hub.intake import Intake, Speaker
from django_hub.logs import get_logger
from django_hub.messages import Close, Frame
from django_hub.readahead import Receive
from django_hub.relay import Relay
from django_hub.visitors import Visitor
from django_hub.wires.base import Outgoing, Wire
from django_hub.wires.held import HeldWire

logger = get_logger(__name__)


class Stay:
    """``talk`` is with a client of ``hub.v1``; None: a raw one. Until it is welcomed, what is for such a
    client waits."""

    __slots__ = ("_access", "_connection", "_relay", "_talk", "_visitor", "_wire")

    def __init__(
        self,
        relay: Relay,
        visitor: Visitor,
        connection: Connection,
        talk: Conversation | None,
        access: Access,
    ) -> None:
        self._relay = relay
        self._visitor = visitor
        self._connection = connection
        self._talk = talk
        self._access = access
        self._wire = connection.wire
        if talk is not None:
            connection.wire = HeldWire(connection.wire)
        connection.hears = access.may_receive

    async def post(self, data: str | bytes) -> bool:
        """See `Clients.post`."""
        return await self._relay.clients.post(self._connection, data)

    def send(self, frame: Frame, key: str) -> bool:
        """False: the socket is closed."""
        if isinstance(frame, Close):
            return self.close(frame.code, frame.reason)
        if self._talk is not None:
            frame = envelope(frame)
        return self._connection.write(Outgoing(frame, key=key))

    def close(self, code: int, reason: str) -> bool:
        """Close the socket behind what was sent. False: it is closed."""
        return self._connection.close(code, reason)

    def let_hear(self, hears: bool) -> None:
        """From now on it hears what the hub's clients hear, or no more."""
        connection = self._connection
        returns = hears and not connection.hears
        self._relay.fanout.let_hear(connection, hears)
        if returns and connection.session and connection.left is None:
            # What it missed it gets with a new hello, as far as there is history; and the list of members.
            connection.close(closes.SERVICE_RESTART, "may receive again")

    def put_out(self, refusal: Refused) -> None:
        """Close the socket of a client that keeps no bound."""
        self._connection.put_out("close", refusal)

    async def last(self, receive: Receive, speaker: Speaker) -> None:
        """Return when it is over, and the store knows or had time to."""
        connection = self._connection
        connection.reader = asyncio.current_task()
        departure = Departure(reason="shutdown")
        try:
            try:
                joined = await self._relay.clients.join(connection)
            except Refused as refusal:
                self._visitor.met_a_full(connection.hub, refusal)
                refuse(self._wire, refusal, speaks=self._talk is not None)
                # It was no member: that it leaves changes nothing in the store, and nobody is told.
                departure = Departure(reason="replaced")
                return
            if self._talk is not None:
                await self._talk.welcome(connection, connection.presence)
            if joined:
                departure = await Intake(connection, self._talk, self._access, speaker).read(receive)
            else:
                departure = Departure(reason="close")
        except (Exception, asyncio.CancelledError) as error:
            if not is_our_end(error):
                logger.exception(
                    "%s failed on a message of %s in hub %s",
                    type(speaker).__name__,
                    connection.client_id,
                    connection.hub,
                )
                departure = Departure(
                    reason="read", code=closes.FAILED, error=f"{type(error).__name__}: {error}"
                )
                if self._talk is not None:
                    self._talk.acknowledge(connection)
                connection.close(closes.FAILED)
            elif connection.reader is None:
                # We do it ourselves where a client does not answer to its end.
                departure = Departure(
                    reason="read", code=closes.BROKEN, error="the client did not answer its close"
                )
            else:
                # Daphne cancels when it stops, and also when we are busy too long after the socket ended.
                departure = departure_waiting(receive) or departure
                if connection.left is None:
                    raise
        finally:
            connection.reader = None
            if self._talk is not None:
                self._talk.close()
            self._visitor.leave()
            await self._leave(departure)

    async def _leave(self, departure: Departure) -> None:
        """Leave, and wait for the store to know: but not for ever, and going on if we are cancelled."""
        grace = get_settings().SHUTDOWN_GRACE
        await asyncio.wait([self._relay.clients.leave(self._connection, departure)], timeout=grace)
        if departure.reason == "shutdown":
            await asyncio.wait([asyncio.create_task(self._relay.close())], timeout=grace)


def refuse(wire: Wire, refusal: Refused, *, speaks: bool) -> None:
    """Close the socket of who is no member, and say why. ``speaks``: ``hub.v1``."""
    close = Close(refusal.code, refusal.reason).shortened()
    if speaks:
        wire.write(Outgoing(closing(close, refusal.reconnect)))
    wire.write(Outgoing(close))
