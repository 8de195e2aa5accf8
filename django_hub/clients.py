"""The clients of this process: how they join, post and leave."""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Awaitable, Callable, Sequence

from django_hub import closes
from django_hub.backoff import waits
from django_hub.batching import Batcher, Failed
from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.entries import Entry, Scope
from django_hub.events import read_description
from django_hub.exceptions import Refused, Unavailable
from django_hub.fanout import Fanout
from django_hub.groups import Groups
from django_hub.leaving import Leaving
from django_hub.logs import get_logger
from django_hub.messages import Close
from django_hub.names import group_name
from django_hub.ordering import Ordering
from django_hub.outbox import Outbox
from django_hub.sender import Sender, Sent
from django_hub.spans import posted
from django_hub.stores.ops import Address, Outcome
from django_hub.tallies import tallies

logger = get_logger(__name__)


# After a write failed, the reader has this long to say why the socket ended: it knows the close code.
_WORD_OF_READER = 1.0


class Clients:
    """``started`` is awaited before a client joins and returns the relay's channel; ``gone`` is called
    when the last client has left."""

    def __init__(
        self,
        outbox: Outbox,
        groups: Groups,
        fanout: Fanout,
        ordering: Ordering,
        sender: Sender,
        started: Callable[[], Awaitable[str]],
        gone: Callable[[], None],
    ) -> None:
        self._outbox = outbox
        self._groups = groups
        self._fanout = fanout
        self._ordering = ordering
        self._sender = sender
        self._started = started
        self._gone = gone
        self._process = ""
        self._count = 0
        #: Messages that came, by hub, and in all (""): only while somebody looks (see `answers`).
        self.counted: dict[str, int] | None = None
        self._leaving = Leaving(outbox, lambda connection: self.left(connection), self._let_go)
        self._entering: Batcher[Connection, None] = Batcher(self._enter)
        #: Is told of each connection that leaves for good, once.
        self.left: Callable[[Connection], None] = _nobody_asks
        #: Is asked of who is to join again, by hub, client id and user id: a refusal, or None.
        self.excluded: Callable[[str, str, str | None], Awaitable[Refused | None]] = _nobody_is
        #: Is asked of one that was replaced: is who has its client id now the same client?
        self.resumed: Callable[[Connection], Awaitable[bool]] = _nobody_returns

    @property
    def online(self) -> int:
        """How many of those have a socket."""
        return self._count - len(self._leaving)

    def __len__(self) -> int:
        """How many have come and not left, those who are not members yet included."""
        return self._count

    async def join(self, connection: Connection) -> bool:
        """Make the connection a member of its hub, in the order of the calls.

        False: it was ended before it was one. Frames for the hub reach it once its Join is on its way: a
        few may come before its `Joined` is handled. Raises `Refused` where the
        hub is full; it is then to leave.
        """
        connection.ended = self._ended
        self._count += 1
        self._leaving.go_on()
        await asyncio.shield(self._entering.put(connection))
        if connection.joined is not None:
            outcome = await asyncio.shield(connection.joined)
            if outcome is Outcome.REPLACED:
                await self._drop_replaced(connection)
            elif outcome is Outcome.CROWDED:
                raise Refused(closes.HUB_FULL, "the hub is full")
        return connection.left is None

    @posted
    async def post(self, connection: Connection, data: str | bytes) -> bool:
        """Put a message into the hub's mailbox, in the order of the calls.

        Waits while the mailbox is full or the store can't be reached. False: the connection is no longer
        a member, and the message was not taken. Cancelled, it may or may not be.
        """
        if connection.posting is None:
            connection.posting = asyncio.Lock()
        taking = connection.taking
        if taking is not None and not taking.is_here():
            taking = None
        async with connection.posting:
            posting = connection.number(taking)
            pauses = waits(first=0.02, most=0.5)
            while connection.left is None:
                op = connection.post_op(posting, data)
                match await self._outbox.put(op):
                    case Outcome.DONE:
                        if not posting.own:
                            connection.posted = posting.number
                        if self.counted is not None:
                            self._count_message(connection.hub)
                        tallies.receive(data)
                        return True
                    case Outcome.FULL:
                        await asyncio.sleep(next(pauses))
                    case Outcome.UNKNOWN:
                        await self.join_again(connection, op.connection)
                    case Outcome.REPLACED:
                        await self._drop_replaced(connection)
            return False

    def _count_message(self, hub: str) -> None:
        counted = self.counted
        if counted is not None:
            counted[""] += 1
            if hub in counted:
                counted[hub] += 1

    def leave(self, connection: Connection, departure: Departure) -> asyncio.Task[None]:
        """Take the connection out of its hub; its `Left` is posted once, however often this is called.

        The task is done when the store knows.
        """
        if connection.left is None:
            undelivered = connection.wire.abandon()
            if connection.wire.dropped:
                logger.info(
                    "Client %s of hub %s was too slow for %d messages, which were dropped for newer ones",
                    connection.client_id,
                    connection.hub,
                    connection.wire.dropped,
                )
            connection.release()
            if connection.joined is not None:
                self._fanout.remove(connection)
                self._ordering.forget(connection)
                self._groups.leave(group_name(connection.hub))
            connection.left = self._leaving.begin(connection, departure, undelivered)
        return connection.left

    def give_up(self, connection: Connection, departure: Departure) -> None:
        """Where its client is lost, it is gone now, and won't resume."""
        self._leaving.give_up(connection, departure)

    async def join_again(self, connection: Connection, known_as: str) -> None:
        """Make a connection a member again that the store does not know any more, by the id it had.

        Close it, where it was banned and has not heard of that yet.
        """
        if connection.left is None:
            user_id = read_description(connection.who)[1]
            refusal = await self.excluded(connection.hub, connection.client_id, user_id)
            if refusal is not None:
                if connection.left is None:
                    connection.put_out("kicked", refusal)
                return
        if connection.id != known_as and connection.joined is not None:
            await asyncio.wait([connection.joined])  # somebody found out before
            return
        if connection.left is not None:
            return
        if self._fanout.get(connection.hub, connection.key) is not connection:
            # Its client is back here: to join is the newer one's, and so is the place in the fan-out.
            self._drop_older(connection)
            return
        connection.returned = asyncio.get_running_loop().time()
        self._fanout.remove(connection)
        connection.joined = self._outbox.put(connection.join_op(self._process, again=True))
        self._fanout.add(connection)
        outcome = await asyncio.shield(connection.joined)
        if outcome is Outcome.REPLACED:
            await self._drop_replaced(connection)
        elif outcome is Outcome.DONE and connection.session:
            # Another member than its client takes itself for: a new hello says so.
            error = "the server had lost the client"
            self._ended(connection, Departure(reason="read", code=closes.SERVICE_RESTART, error=error))

    async def all_join_again(self, asked: float) -> None:
        """As `join_again`, for all that are members here and have not done so since then (loop's time)."""
        await asyncio.gather(*(self.join_again(c, c.id) for c in self._fanout if c.returned < asked))

    def all_leave(self, departure: Departure) -> list[asyncio.Task[None]]:
        """As `leave`, for all that are members here. Who is lost is from now on for others to `reap`."""
        self._leaving.let_all_be()
        return [self.leave(connection, departure) for connection in self._fanout]

    def send_away(self, connection: Connection) -> None:
        """As `leave`, and close the socket: the server ends, and its client is to go to another one."""
        # First: who has left is written nothing any more but a Close, so that it would not hear why.
        connection.close(closes.SERVICE_RESTART, "the server restarts")
        self._ended(connection, Departure(reason="shutdown", code=closes.SERVICE_RESTART))

    def close_replaced(self, hub: str, address: Address, resumed: bool) -> None:
        """Close a socket, here or elsewhere, whose client id a newer connection has.

        ``resumed``: one of the same client. That one may have come late, and the client be here: so who is
        told may return. Where it was lost, nobody waits for it any more: its client is the newer one's.
        """
        if self._leaving.let_be(address.connection):
            return
        entry = Entry(hub, Close(*_replaced(resumed)), Scope.ONLY, (address.connection,))
        self._sender.direct(address.process, entry).add_done_callback(_log)

    async def idle(self) -> None:
        await self._entering.idle()

    async def _enter(self, connections: Sequence[Connection]) -> Sequence[Failed | None]:
        self._process = await self._when_started()
        entered = await asyncio.gather(
            *(self._groups.enter(group_name(c.hub), self._process) for c in connections),
            return_exceptions=True,
        )
        results: list[Failed | None] = []
        for connection, error in zip(connections, entered, strict=True):
            if connection.left is None and error is None:
                older = self._fanout.get(connection.hub, connection.key)
                connection.joined = self._outbox.put(connection.join_op(self._process))
                self._fanout.add(connection)
                if older is not None:
                    # Of the same session. Not before: its Leave must find that it is another's.
                    connection.joined.add_done_callback(functools.partial(self._resumed, older))
            else:
                self._groups.leave(group_name(connection.hub))
            results.append(Failed(error) if isinstance(error, Exception) else None)
        return results

    def _let_go(self) -> None:
        self._count -= 1
        if not self._count:
            self._gone()

    async def _when_started(self) -> str:
        pauses = waits()
        while True:
            try:
                return await self._started()
            except Unavailable as error:
                logger.warning("Clients wait to join: %s", error)
                await asyncio.sleep(next(pauses))

    def _ended(self, connection: Connection, departure: Departure) -> None:
        if departure.reason == "write":
            loop = asyncio.get_running_loop()
            loop.call_later(_WORD_OF_READER, self._leave_unless_gone, weakref.ref(connection), departure)
            return
        self.leave(connection, departure)
        if not connection.close(departure.code or 1011, departure.reason):
            connection.closing()

    def _leave_unless_gone(self, reference: weakref.ref[Connection], departure: Departure) -> None:
        connection = reference()
        if connection is not None:
            self.leave(connection, departure)

    def _resumed(self, older: Connection, _: asyncio.Future[Outcome]) -> None:
        self._drop_older(older)

    def _drop_older(self, older: Connection) -> None:
        self.leave(older, Departure(reason="replaced"))
        older.close(closes.SERVICE_RESTART, "resumed")

    async def _drop_replaced(self, connection: Connection) -> None:
        """Another connection has its client id: the store posted its Left, only the socket is to go.

        The reply to its Join may be lost, and an older socket of the same client be let in before it asks
        again.
        """
        resumed = bool(connection.session) and await self.resumed(connection)
        self.leave(connection, Departure(reason="replaced"))
        connection.close(*_replaced(resumed))


def _replaced(resumed: bool) -> tuple[int, str]:
    return (closes.SERVICE_RESTART, "resumed") if resumed else (closes.REPLACED, "replaced")


async def _nobody_returns(_: Connection) -> bool:
    """Until somebody says who does."""
    return False


async def _nobody_is(hub: str, client_id: str, user_id: str | None) -> Refused | None:
    """Until somebody says who is excluded."""


def _nobody_asks(connection: Connection) -> None:
    """Until somebody does."""


def _log(sent: Sent) -> None:
    if not sent.cancelled() and (error := sent.exception() or sent.result()):
        logger.warning("A replaced socket was not told to close: %s", error)
