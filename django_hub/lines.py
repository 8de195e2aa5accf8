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
    """One log's entries on their way: a hub's, or, with ``key``, that of one client of it.

    What is missing holds up what comes behind it, but never more than 1,000 numbers or 4 MiB: then it goes
    on with a hole. Its owner asks the store for what is missing, as long as it is not settled.
    """

    __slots__ = ("_over", "ahead", "begun", "hub", "key", "numbers", "watch")

    def __init__(self, hub: str, key: str = "") -> None:
        self.hub = hub
        self.key = key
        # A client's own begins with 1, but where it has come here from elsewhere.
        self.numbers = Sequence(hub, "", 0 if key else None)
        #: It is known where the log begins here, as far as that is told by somebody.
        self.begun = not key
        #: The log has come so far, as the store says.
        self.ahead = 0
        #: Who asks for what is missing.
        self.watch: asyncio.Task[None] | None = None
        self._over = False

    @property
    def is_settled(self) -> bool:
        """Nothing is to be waited for."""
        return self._over or (self.numbers.is_settled and (self.numbers.at or 0) >= self.ahead)

    @property
    def is_over(self) -> bool:
        """Nobody hears it any more."""
        return self._over

    @property
    def is_full(self) -> bool:
        """So much waits that it should go on without what is missing."""
        return len(self.numbers) > _MOST or self.numbers.size > _MOST_BYTES

    def take(self, entry: Entry) -> list[Entry]:
        """What goes on, now that this has come."""
        ready = self.numbers.take(entry)
        return [*ready, *self._bounded()] if self.numbers.holds else ready

    def wait_behind(self, entry: Entry) -> list[Entry]:
        """Something without a number, said after what waits. What goes on, where that is too much."""
        self.numbers.wait_behind(entry)
        return self._bounded()

    def fill(self, history: History | None) -> list[Entry]:
        """Go on to where the log has come, with what the store has of it; None: with what has come here."""
        self.ahead = 0
        if history is None:
            return self.numbers.give_up()
        epoch = "" if self.key else history.epoch
        if self.key and history.seq < (self.numbers.at or 0):
            # It was put back to an earlier state, or began anew: there is a hole in front of all of it.
            self.numbers = Sequence(self.hub, "", -1)
        return self.numbers.fill(epoch, history.seq, entries_of(self.hub, epoch, history))

    def look(self, seq: int | None, at: int) -> None:
        """The store says how far the log has come, or (None) that it is not the one that is known here.
        When it was asked, this had come to ``at``: what came since is above what it says."""
        if seq is None or seq < at:
            self.numbers.doubtful = True
        else:
            self.ahead = seq

    def end(self) -> None:
        self._over = True
        if self.watch is not None:
            self.watch.cancel()

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

    def _bounded(self) -> list[Entry]:
        if not self.is_full:
            return []
        logger.warning(
            "Of hub %s too much waits for a number that does not come; it goes on without", self.hub
        )
        return self.fill(None)


def entries_of(hub: str, epoch: str, history: History) -> list[Entry]:
    """What is kept, without what can't be read."""
    entries: list[Entry] = []
    for seq, item in history.items:
        try:
            entries.append(from_item(hub, epoch, seq, item))
        except ValueError as error:
            logger.error("Number %d of hub %s is left out. %s", seq, hub, error)
    return entries
