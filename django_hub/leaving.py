"""Leaving: what a connection's end is for the store: at once, or when the grace is over in which its client
may be back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from django_hub import closes
from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.outbox import Outbox
from django_hub.stores.ops import Outcome
from django_hub.tallies import tallies
from django_hub.tasks import Tasks


@dataclass(frozen=True, slots=True)
class _Lost:
    """Who may be back until the timer rings."""

    connection: Connection
    timer: asyncio.TimerHandle
    undelivered: list[str | bytes]


class Leaving:
    """Of the connections of this process that have ended.

    ``gone`` is called once with each: nobody waits for its client any more. ``done`` is called for each,
    too, when there is nothing left to do: the store knows, or it is for others to `reap`.
    """

    def __init__(
        self, outbox: Outbox, gone: Callable[[Connection], None], done: Callable[[], None]
    ) -> None:
        self._outbox = outbox
        self._gone = gone
        self._done = done
        # Who may be back, and when that is over.
        self._lost: dict[str, _Lost] = {}
        # Of whom the store is just told so; and as what they leave, where they were given up meanwhile.
        self._losing: dict[Connection, Departure | None] = {}
        self._tasks = Tasks()
        # The server ends: nobody is waited for.
        self._ending = False

    def __len__(self) -> int:
        """How many are lost, and may be back."""
        return len(self._lost)

    def begin(
        self, connection: Connection, departure: Departure, undelivered: list[str | bytes]
    ) -> asyncio.Task[None]:
        """The task is done when the store knows that it left, or is lost."""
        if connection.may_return(departure):
            self._losing[connection] = None
            return self._tasks.begin(self._lose(connection, departure, undelivered))
        self._gone(connection)
        return self._tasks.begin(self._leave(connection, departure, undelivered))

    def give_up(self, connection: Connection, departure: Departure) -> None:
        """Where its client is lost, it is gone now, and won't resume."""
        if (lost := self._lost.get(connection.id)) is not None:
            lost.timer.cancel()
            self._give_up(connection, departure)
        elif connection in self._losing:
            self._losing[connection] = departure

    def let_be(self, connection_id: str) -> bool:
        """Nobody waits here for this one any more, for it is somebody else's. False: nobody did."""
        lost = self._lost.pop(connection_id, None)
        if lost is None:
            return False
        lost.timer.cancel()
        self._over(lost.connection)
        return True

    def let_all_be(self) -> None:
        """The server ends: who is lost, now or from now on, is for others to `reap`."""
        self._ending = True
        for connection_id in list(self._lost):
            self.let_be(connection_id)

    def go_on(self) -> None:
        """It goes on: somebody came."""
        self._ending = False

    async def _leave(
        self, connection: Connection, departure: Departure, undelivered: list[str | bytes]
    ) -> None:
        try:
            if connection.joined is not None:
                # Its Join may be under way: the two never stand in one call (see the store's contract).
                if not connection.joined.done():
                    await asyncio.wait([connection.joined])
                outcome = await self._outbox.put(connection.leave_op(departure, undelivered))
                # Also DONE, and nothing changed, where it had not become a member; or had, came back at
                # another server, and is gone from there: that is counted twice.
                if outcome is Outcome.DONE and _is_member(connection.joined):
                    tallies.leaves[departure.reason] += 1
        finally:
            self._done()

    async def _lose(
        self, connection: Connection, departure: Departure, undelivered: list[str | bytes]
    ) -> None:
        """As `_leave`, once the time is over in which its client may be back.

        Where the server ends before, that is for other processes, which `reap` its members.
        """
        is_member = connection.joined is not None
        try:
            if connection.joined is not None:
                await asyncio.wait([connection.joined])
                is_member = await self._outbox.put(connection.lose_op(departure)) is not Outcome.REPLACED
                tallies.lost += is_member
        except BaseException:
            del self._losing[connection]
            self._over(connection)
            raise
        given_up = self._losing.pop(connection)
        if given_up is not None:
            self._gone(connection)
            await self._leave(connection, given_up, undelivered)
            return
        # Not where only its task was cancelled: this process may go on, and nobody else would see to it.
        ends = departure.reason == "shutdown" and departure.code == closes.SERVICE_RESTART
        if self._ending or ends or not is_member:
            self._over(connection)
            return
        loop = asyncio.get_running_loop()
        timer = loop.call_later(connection.grace, self._give_up, connection, departure)
        self._lost[connection.id] = _Lost(connection, timer, undelivered)

    def _give_up(self, connection: Connection, departure: Departure) -> None:
        lost = self._lost.pop(connection.id)
        self._gone(connection)
        # A store where it is another connection's by now changes nothing.
        self._tasks.begin(self._leave(connection, departure, lost.undelivered))

    def _over(self, connection: Connection) -> None:
        self._gone(connection)
        self._done()


def _is_member(joined: asyncio.Future[Outcome]) -> bool:
    """The store had taken it in."""
    return (
        not joined.cancelled()
        and joined.exception() is None
        and joined.result() in (Outcome.DONE, Outcome.RESUMED)
    )
