"""Lines: the entries of one log, on their way to the clients of this process."""

from __future__ import annotations

import asyncio

from django_hub.entries import Entry, from_item
from django_hub.logs import get_logger
from django_hub.sequences import Sequence
from django_hub.stores.base import Store
from django_hub.stores.ops import History

logger = get_logger(__name__)

# What may wait of one log, in numbers and bytes.
_MOST = 1000
_MOST_BYTES = 4 * 1024 * 1024


class Line:
    """One log's entries on their way: a hub's, or, with ``key``, that of one client of it."""

    __slots__ = ("ahead", "begun", "hub", "key", "numbers", "watch")

    def __init__(self, hub: str, key: str = "") -> None:
        self.hub = hub
        self.key = key
        # A client's own begins with 1, but where it has come here from elsewhere.
        self.numbers = Sequence(hub, "", 0 if key else None)
        self.begun = not key
        # The log has come so far, as the store says.
        self.ahead = 0
        self.watch: asyncio.Task[None] | None = None

    @property
    def is_settled(self) -> bool:
        return self.numbers.is_settled and (self.numbers.at or 0) >= self.ahead

    @property
    def is_full(self) -> bool:
        """So much waits that it should go on without what is missing."""
        return len(self.numbers) > _MOST or self.numbers.size > _MOST_BYTES

    def give_up(self) -> list[Entry]:
        self.ahead = 0
        return self.numbers.give_up()

    async def history(self, store: Store, after: int) -> History:
        """What the store has of the hub's log above this number; of another log than this one, all."""
        known = (await store.positions([self.hub])).get(self.hub)
        # Above a number that another log never had, there would be nothing.
        same = known is not None and known.epoch == self.numbers.epoch
        return await store.history(self.hub, after if same else 0)

    async def sent(self, store: Store, client_id: str, after: int) -> History:
        """The same of the client's own log."""
        sent = await store.sent(self.hub, client_id, after)
        return sent if sent.seq >= after else await store.sent(self.hub, client_id, 0)


def entries_of(hub: str, epoch: str, history: History) -> list[Entry]:
    """What is kept, without what can't be read."""
    entries: list[Entry] = []
    for seq, item in history.items:
        try:
            entries.append(from_item(hub, epoch, seq, item))
        except ValueError as error:
            logger.error("Number %d of hub %s is left out. %s", seq, hub, error)
    return entries
