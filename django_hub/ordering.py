"""Ordering: numbered entries on their way to the fan-out, so that all clients of a hub see one order.

A channel layer may lose what it carries, double it, and hand it out in another order than that of the
numbers. What is missing is asked for at the store, which keeps the newest; what that has no more is a hole,
and said to be one (`Kind.RESYNC`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_hub.connection import Connection
from django_hub.entries import Entry
from django_hub.fanout import Fanout
from django_hub.orders import Order
from django_hub.stores.base import Store
from django_hub.stores.ops import Number
from django_hub.tasks import Tasks

# Hubs looked at in one call: with 20,000 in one, a beat held up the loop for half a second.
_PAGE = 500


class Ordering:
    """In front of the fan-out, for hubs with local connections; what is for others is dropped.

    A number that is late holds up what comes behind it: for 0.1 s, and then until the store has told what
    became of it, but never for more than 1,000 numbers or 4 MiB.
    """

    def __init__(self, store: Store, fanout: Fanout) -> None:
        self._store = store
        self._fanout = fanout
        self._orders: dict[str, Order] = {}
        self._tasks = Tasks()

    def put(self, entries: Sequence[Entry]) -> None:
        """Entries as they come. They go to the fan-out in the order of their numbers; those that have none
        behind what came before them, in their hub."""
        ready: list[Entry] = []
        for entry in entries:
            order = self._orders.get(entry.hub) or self._new(entry.hub)
            if order is not None:
                order.put(entry, ready)
        if ready:
            self._fanout.put(ready)

    def begin(self, name: str, log: Number) -> None:
        """A client joined when the hub's log had come so far: what follows is for it. So it is known where
        the log begins here, if it was not; until then what comes waits, as a late number does."""
        if (order := self._order(name)) is not None:
            order.begin(log)

    @property
    def is_full(self) -> bool:
        return self._fanout.is_full

    async def room(self) -> None:
        await self._fanout.room()

    async def idle(self) -> None:
        """Return when nothing waits here or in the fan-out."""
        await self._tasks.idle()
        await self._fanout.idle()

    def forget(self, connection: Connection) -> None:
        """A connection is no longer in the fan-out: let go of what was kept for it, and, with the hub's
        last one here, for the hub."""
        order = self._orders.get(connection.hub)
        if order is None:
            return
        if connection.hub not in self._fanout:
            self.let_go(connection.hub)
        elif self._fanout.get(connection.hub, connection.key) is None:
            order.forget_client(connection.key)

    def let_go(self, name: str) -> None:
        """Nobody hears the hub here any more."""
        order = self._orders.pop(name, None)
        self._fanout.forget(name)
        if order is not None:
            order.end()

    async def settle(self, name: str) -> None:
        """Return when it is known how far the hub's log has come: `Fanout.position`, and that of its
        connections, are known then. Of a hub without connections here, at once.

        Raises `Unavailable`, `Damaged`.
        """
        # All may leave, and somebody come, meanwhile: that is another beginning.
        while (order := self._order(name)) is not None and not order.epoch:
            await order.settle()

    def begin_client(self, connection: Connection, direct: int) -> None:
        """What was sent to this client alone, up to this number, reaches it in another way: what passes
        here is above it. Without this call a client's own log is taken to begin with what comes first."""
        order = self._order(connection.hub)
        if order is not None and self._fanout.get(connection.hub, connection.key) is connection:
            order.begin_client(connection.key, direct)

    async def since(self, name: str, epoch: str, seq: int, upto: int) -> list[Entry] | None:
        """The entries of the hub's log above ``seq``, up to ``upto``, both of this epoch, in their order.
        None where not all of them are known: they are not kept any more, or ``seq`` is none of this log.
        None of them, and an empty list, where ``seq`` is above ``upto``: a client may have heard at another
        process what has not come here yet.

        The store is asked once, however many clients come back at the same time.
        Raises `Unavailable`, `Damaged`.
        """
        order = self._order(name)
        return None if order is None else await order.since(epoch, seq, upto)

    async def look(self) -> None:
        """Compare with the store how far the logs have come of hubs with clients of ``hub.v1``, and the own
        logs of clients that were sent something since the last look: of a lost last number nothing else
        tells. What is missing then comes soon. Raises `Unavailable`."""
        names = self._fanout.with_sessions()
        for start in range(0, len(names), _PAGE):
            await self._look_at(names[start : start + _PAGE])

    async def _look_at(self, names: Sequence[str]) -> None:
        # By now: what comes while the store is asked is above what it answers.
        at = {
            name: (order, order.at)
            for name in names
            if (order := self._orders.get(name)) is not None and order.at is not None
        }
        if not at:
            return
        positions = await self._store.positions(at)
        for name, (order, seq) in at.items():
            order.look(positions.get(name), seq or 0)
        await self._look_at_clients(positions)

    async def _look_at_clients(self, positions: Mapping[str, Number]) -> None:
        # Not to ask for each client each time: most are sent nothing for hours.
        orders = {
            name: order
            for name, number in positions.items()
            if (order := self._orders.get(name)) is not None and order.told != number.told
        }
        if orders:
            found = await self._store.told({name: order.told for name, order in orders.items()})
            for name, order in orders.items():
                order.look_at_clients(found.get(name, {}), positions[name].told)

    def _order(self, name: str) -> Order | None:
        return self._orders.get(name) or self._new(name)

    def _new(self, name: str) -> Order | None:
        if name not in self._fanout:
            return None
        order = self._orders[name] = Order(name, self._store, self._fanout, self._tasks)
        return order
