"""The outbox: this process's one ordered way into the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from django_hub.accepted import Accepted
from django_hub.backoff import waits
from django_hub.batching import Batcher, Failed
from django_hub.bells import Bells
from django_hub.exceptions import Damaged, Unavailable
from django_hub.logs import get_logger
from django_hub.names import session_of
from django_hub.stores.base import Store
from django_hub.stores.ops import Address, Join, Number, Op, Outcome
from django_hub.tallies import tallies

logger = get_logger(__name__)

_JOINS = {Outcome.DONE: "new", Outcome.RESUMED: "resumed"}


class Outbox:
    """Join, Post and Leave in the order of `put`, as many as wait in one call of `Store.apply`.

    While the store can't be reached the same call is repeated, as the contract wants it, and what comes
    next waits; each client has at most one op here, so it is bounded by the clients.
    """

    def __init__(self, store: Store, bells: Bells) -> None:
        self._store = store
        self._bells = bells
        #: Told of each connection that lost its client id to a newer one, with its hub; and whether that
        #: one is of the same session.
        self.replaced: Callable[[str, Address, bool], None] = _nobody
        #: Told how far a hub's log had come when somebody joined it.
        self.began: Callable[[str, Number], None] = _unheard
        #: Told when the store answers again after it could not be reached.
        self.recovered: Callable[[], None] = _nothing
        self.accepted = Accepted()
        self._ops: Batcher[Op, Outcome] = Batcher(self._flush)

    def put(self, op: Op) -> asyncio.Future[Outcome]:
        """What became of the op; raises `Damaged` where its hub is. Giving it up takes nothing back."""
        return self._ops.put(op)

    async def idle(self) -> None:
        await self._ops.idle()

    async def _flush(self, ops: Sequence[Op]) -> Sequence[Outcome | Failed]:
        pauses = waits()
        failed = False
        while True:
            try:
                applied = await self._store.apply(ops)
            except Unavailable as error:
                logger.warning("%d changes wait for the store: %s", len(ops), error)
                failed = True
                await asyncio.sleep(next(pauses))
            else:
                break
        if failed:
            # Before these are counted: they are in the store as it is now.
            tallies.reconnects["store"] += 1
            self.recovered()
        for op, outcome in zip(ops, applied.outcomes, strict=True):
            if outcome in (Outcome.DONE, Outcome.RESUMED):
                self.accepted.add(op.hub)
                if isinstance(op, Join):
                    tallies.joins["again" if op.again else _JOINS[outcome]] += 1
        self._bells.ring(applied.wakes)
        for hub, log in applied.logs.items():
            self.began(hub, log)
        joins = [op for op in ops if isinstance(op, Join)]
        sessions = {session_of(op.connection) for op in joins} - {""}
        # A member that joins again is no other one: its `Left` says lost.
        same = {op.again for op in joins}
        for hub, address in applied.replaced:
            resumed = session_of(address.connection) in sessions
            if not resumed and address.connection not in same:
                tallies.leaves["replaced"] += 1
            self.replaced(hub, address, resumed)
        return [
            Failed(outcome) if isinstance(outcome, Damaged) else outcome for outcome in applied.outcomes
        ]


def _nobody(hub: str, address: Address, resumed: bool) -> None:
    """An outbox without a relay."""


def _unheard(hub: str, log: Number) -> None:
    """As above."""


def _nothing() -> None:
    """As above."""
