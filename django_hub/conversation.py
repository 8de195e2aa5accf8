"""The talk with a client of ``hub.v1``: it connects, is welcomed, speaks, and shows that it is there."""

from __future__ import annotations

import asyncio
import uuid
import weakref
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django_hub import closes, envelopes
from django_hub.backoff import waits
from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.entries import Entry
from django_hub.envelopes import Connect, NotSpoken, Ping, Recovered, Said
from django_hub.exceptions import Refused, Unavailable
from django_hub.lines import entries_of
from django_hub.logs import get_logger
from django_hub.messages import is_longer
from django_hub.presence import shown
from django_hub.receivers import receivers
from django_hub.relay import Relay
from django_hub.stores.ops import Outcome
from django_hub.taking import Taking
from django_hub.tallies import tallies
from django_hub.tokens import make_token, read_token, session_of_nonce
from django_hub.wires.base import Outgoing, Wire
from django_hub.wires.held import HeldWire

logger = get_logger(__name__)


# A client has so many seconds to say what it comes with.
_CONNECT_WITHIN = 10.0
# And is taken for gone when nothing was heard of it for so many heartbeats.
_SILENT = 2.5

_Receive = Callable[[], Awaitable[dict[str, Any]]]


class Conversation:
    """One socket's. The consumer's hooks have let the client in already. Its frames may have ``most`` bytes
    each."""

    def __init__(
        self, relay: Relay, wire: Wire, scope: Mapping[str, Any], heartbeat: float, most: int
    ) -> None:
        self._relay = relay
        self._wire = wire
        self._scope = scope
        self._heartbeat = heartbeat
        self._most = most
        self._connect = Connect()
        self._session = uuid.uuid4().hex
        self._clock = asyncio.get_running_loop().time
        self._heard = self._clock()
        self._watch: asyncio.TimerHandle | None = None
        # The last that was taken and is not acknowledged; 0: none.
        self._taken = 0

    @property
    def session(self) -> str:
        return self._session

    @property
    def returns(self) -> bool:
        """It came with a token, which is good."""
        return self._connect.token is not None

    async def opened(self, receive: _Receive, hub: str, client_id: str, given: bool) -> str | None:
        """Hear what the client comes with, and return its id; None: it ended before.

        ``given``: the id is what the project calls it, and not one of ours. Raises `Refused`.
        """
        try:
            async with asyncio.timeout(_CONNECT_WITHIN):
                message = await receive()
        except TimeoutError:
            raise Refused(closes.SILENT, "no connect came") from None
        if message["type"] == "websocket.disconnect":
            return None
        data = message.get("text") or message.get("bytes") or b""
        if is_longer(data, self._most):
            raise Refused(closes.TOO_BIG, f"a message may have {self._most} bytes")
        match self._read(data):
            case Connect() as connect:
                self._connect = connect
            case _:
                raise Refused(closes.BAD_REQUEST, "the first frame is a connect")
        if connect.token is not None:
            known, session = read_token(connect.token, hub, self._scope)
            if given and known != client_id:
                raise Refused(closes.BAD_TOKEN, "the session token is another client's: connect without it")
            client_id, self._session = known, session
        elif connect.nonce is not None:
            self._session = session_of_nonce(connect.nonce, hub, client_id, self._scope)
        return client_id

    async def welcome(self, connection: Connection, presence: bool) -> None:
        """Tell a client that has joined where it stands, what it missed, and then what came meanwhile."""
        held = connection.wire
        for frame in await self._patiently(lambda: self._welcome(connection, presence)):
            self._wire.write(Outgoing(frame))
            if self._wire.waiting_frames:
                # What it missed may be more than what may wait for it.
                await self._wire.drained()
        # Not where that failed: a number without those before it the client would take for all there was.
        if isinstance(held, HeldWire):
            connection.wire = held.open()
            self._relay.fanout.changed(connection)
        self._connect = Connect()
        self._look(weakref.ref(connection))

    async def _welcome(self, connection: Connection, presence: bool) -> list[str | bytes]:
        hub, connect = connection.hub, self._connect
        await self._relay.ordering.settle(hub)
        # Another one by now, where the client had to join again.
        joined = connection.joined
        resumed = joined is not None and await asyncio.shield(joined) is Outcome.RESUMED
        epoch, seq = connection.position
        recovered: Recovered = "new"
        missed: list[Entry] = []
        # Who may not hear the hub has missed nothing, and gets no list.
        presence = presence and connection.hears
        if connect.epoch is not None and connection.hears:
            known = None
            if connect.epoch == epoch:  # of another log's numbers, where it stands says nothing
                known = await self._relay.ordering.since(hub, epoch, connect.seq, seq)
            recovered = "no" if known is None else "yes"
            if known is not None:
                missed, seq = known, connect.seq
        sent = await self._relay.store.sent(hub, connection.client_id, connect.direct if resumed else 0)
        self._relay.ordering.begin_client(connection, sent.seq)
        direct = sent.seq - len(sent.items)
        if not resumed or direct == connect.direct:
            # For a newcomer, too: somebody may have greeted it already.
            missed += entries_of(hub, "", sent)
        else:
            recovered, direct = "no", sent.seq
        members = [shown(m) async for m in self._members(hub) if m.presence] if presence else None
        tallies.returns[recovered] += 1
        fields = {
            "client": connection.client_id,
            "hub": hub,
            "epoch": epoch,
            "seq": seq,
            "direct": direct,
            "recovered": recovered,
            "resumed": resumed,
            "heartbeat": self._heartbeat,
            "grace": connection.grace,
            "max_bytes": self._most,
            "token": make_token(hub, connection.client_id, self._session, self._scope),
        }
        if members is not None:
            fields["presence"] = members
        mine = {connection.key: connection}
        return [
            envelopes.hello(**fields),
            *(envelopes.of(entry) for entry in missed if any(receivers(mine, entry))),
        ]

    async def _members(self, hub: str) -> Any:
        after = ""
        while page := await self._relay.store.members(hub, after):
            for member in page:
                yield member
            after = page[-1].client_id

    async def take(
        self,
        connection: Connection,
        frame: str | bytes,
        on_message: Callable[[str | bytes], Awaitable[None]] | None,
    ) -> None:
        """What the client sent; a message is acknowledged in the turn of the loop in which ``on_message``
        returns. None: the client may not send, and is told so. Raises `Refused`."""
        self._heard = self._clock()
        match self._read(frame):
            case Ping():
                connection.write(Outgoing(envelopes.PONG))
            case Said(number) if on_message is None:
                refused = envelopes.refused(number, closes.FORBIDDEN, "this client may not send")
                connection.write(Outgoing(refused))
            case Said(number, data, wants_reply) if on_message is not None:
                taking = connection.taking = Taking(number, wants_reply)
                try:
                    with taking.here():
                        await on_message(data)
                finally:
                    connection.taking = None
                    self._heard = self._clock()
                # One for all that came together: each is a system call, as dear as a delivery.
                if not self._taken:
                    asyncio.get_running_loop().call_soon(self.acknowledge, connection)
                self._taken = number
            case Connect():
                raise Refused(closes.BAD_REQUEST, "connect comes once")

    def acknowledge(self, connection: Connection) -> None:
        """Tell the client now what was taken: its socket is about to be closed, or nothing more came."""
        number, self._taken = self._taken, 0
        if number and connection.left is None:
            connection.write(Outgoing(envelopes.ack(number)))

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def _look(self, reference: weakref.ref[Connection]) -> None:
        connection = reference()
        if connection is None or connection.left is not None:
            return
        most = self._heartbeat * _SILENT
        # While its message waits for room, it is we who don't listen.
        silent = 0.0 if connection.taking is not None else self._clock() - self._heard
        if silent > most:
            error = "nothing was heard of the client"
            connection.ended(connection, Departure(reason="read", code=closes.SILENT, error=error))
            return
        loop = asyncio.get_running_loop()
        self._watch = loop.call_later(most - silent + 0.01, self._look, reference)

    @staticmethod
    def _read(frame: str | bytes) -> envelopes.FromClient:
        try:
            return envelopes.read(frame)
        except NotSpoken as error:
            raise Refused(closes.BAD_REQUEST, str(error)) from None

    @staticmethod
    async def _patiently(ask: Callable[[], Awaitable[list[str | bytes]]]) -> list[str | bytes]:
        pauses = waits()
        while True:
            try:
                return await ask()
            except Unavailable as error:
                logger.warning("A client waits for its welcome: %s", error)
                await asyncio.sleep(next(pauses))
