"""What was said of late in a hub: for clients that come back, however many do so at once."""

from __future__ import annotations

import asyncio
import contextvars

from django_hub.entries import Entry
from django_hub.lines import entries_of
from django_hub.recent import Recent
from django_hub.stores.base import Store
from django_hub.tasks import Tasks, outcome

# So long, in seconds, it is kept after its last use.
_KEPT = 10.0


class Recall:
    """Of one hub. Reads its history when it is first asked, and keeps it for a while, with what passes."""

    __slots__ = ("_hub", "_over", "_reading", "_recent", "_store", "_tasks", "_timer", "_until")

    def __init__(self, hub: str, store: Store, tasks: Tasks) -> None:
        self._hub = hub
        self._store = store
        self._tasks = tasks
        self._recent: Recent | None = None
        self._reading: asyncio.Task[None] | None = None
        self._until = 0.0
        # One, however often it is read.
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    @property
    def is_kept(self) -> bool:
        return self._recent is not None

    def passed(self, entry: Entry) -> None:
        """This goes to the clients, behind all that passed before."""
        if self._recent is not None:
            self._recent.append((entry,))

    async def between(self, epoch: str, seq: int, upto: int) -> list[Entry] | None:
        """See `Ordering.since`. None also where it ends meanwhile. Raises `Unavailable`, `Damaged`."""
        reads = 0
        while not self._over:
            recent = self._recent
            # A number that is not known here the store may know. Twice: the first may be somebody else's
            # reading, and have been under way before. More often where others begin another meanwhile.
            if (
                recent is not None
                and self._reading is None
                and (reads >= 2 or not recent.is_behind(epoch, seq))
            ):
                self._until = asyncio.get_running_loop().time() + _KEPT
                return recent.between(epoch, seq, upto)
            if self._reading is None:
                self._recent = Recent()
                self._reading = self._tasks.begin(self._read(self._recent))
            await outcome(self._reading)
            reads += 1
        return None

    def end(self) -> None:
        """Nobody is left who could come back to it here."""
        self._over = True
        self._recent = None
        if self._reading is not None:
            self._reading.cancel()

    async def _read(self, recent: Recent) -> None:
        try:
            history = await self._store.history(self._hub, 0)
            recent.read(history.epoch, history.seq, entries_of(self._hub, history.epoch, history))
        except BaseException:
            self._recent = None
            raise
        finally:
            self._reading = None
        if self._timer is None:
            self._keep()

    def _keep(self) -> None:
        """Until it was not used for a while."""
        loop = asyncio.get_running_loop()
        self._timer = None
        if self._until == 0.0:
            self._until = loop.time() + _KEPT
        if self._over or loop.time() >= self._until:
            self._recent, self._until = None, 0.0
        else:
            self._timer = loop.call_at(self._until, self._keep, context=contextvars.Context())
