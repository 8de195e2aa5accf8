"""The places that this process's sockets hold, of which all processes know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from django_hub.batching import Batcher
from django_hub.bursts import Bursts
from django_hub.exceptions import Damaged, Refused, Unavailable
from django_hub.logs import get_logger
from django_hub.stores.base import Store
from django_hub.stores.memory_visits import MemoryVisits
from django_hub.stores.visits import KEPT, Visit

logger = get_logger(__name__)

# So many seconds it is remembered who was refused: of one who hammers the store is not asked more often.
_REMEMBERED = 1.0
_MOST_REMEMBERED = 10_000
# Counts told in one step.
_PAGE = 500
# And visits: each has several places and scores.
_AT_ONCE = 250
# As which it is counted while it counts alone.
_ITSELF = "this one"


class Holder(Protocol):
    """A socket, which may hold places."""

    def leave(self) -> None: ...


class Places:
    """``started`` and ``gone`` are as in `Clients`: while one is held the process shows that it lives.

    While the store can't be reached each process counts for itself; what it holds is told when it is back.
    """

    def __init__(
        self, store: Store, started: Callable[[], Awaitable[str]], gone: Callable[[], None]
    ) -> None:
        self._store = store
        self._started = started
        self._gone = gone
        self._process = ""
        self._held: dict[tuple[str, str], int] = {}
        self._visits: Batcher[Visit, int | None] = Batcher(self._visit, most=_AT_ONCE)
        # Where the store was out of reach when last asked: what this process knows by itself.
        self._alone: MemoryVisits | None = None
        # Does the store not know all that is held? And of which may it believe what is no longer so, or
        # never was: it may have done what it gave no answer to.
        self._untold = False
        self._doubtful: dict[tuple[str, str], None] = {}
        self._told = time.monotonic()
        # Subjects that were refused, until when that is believed, and with what.
        self._refused: dict[str, tuple[float, Refused]] = {}
        #: All sockets of this process, from before anything is asked of them.
        self.visitors: set[Holder] = set()
        #: Of each subject, how many sockets of this process it is not decided of yet.
        self.waiting: dict[str, int] = {}
        self.refusals = Bursts()

    def __len__(self) -> int:
        """How many different ones are held."""
        return len(self._held)

    def put(self, visit: Visit) -> asyncio.Future[int | None]:
        """See `Store.visit`; in the order of the calls. Waiting for the answer can be given up."""
        return self._visits.put(visit)

    def refuse(self, subject: str, refusal: Refused) -> None:
        """Count it, tell of it once a burst, and remember it for a moment."""
        now = time.monotonic()
        self.refusals.add(refusal.code, subject, refusal.reason, now)
        if len(self._refused) >= _MOST_REMEMBERED:
            self._refused.clear()
        self._refused[subject] = now + _REMEMBERED, refusal

    def refused(self, subject: str) -> Refused | None:
        """What it was refused with a moment ago."""
        until, refusal = self._refused.get(subject, (0.0, None))
        if refusal is not None and until <= time.monotonic():
            del self._refused[subject]
            return None
        return refusal

    def all_leave(self) -> None:
        """The server ends: what its sockets hold is given back now, for their own end may come too late.
        Until the dead process's lease is over it would be in the way of those who come back elsewhere."""
        for visitor in list(self.visitors):
            visitor.leave()

    async def look(self) -> None:
        """A beat's part: what the store may have forgotten is told again."""
        now = time.monotonic()
        self.refusals.look(now)
        if self._untold or (self._held and now - self._told > KEPT / 3):
            await self.tell()

    async def tell(self) -> None:
        """Tell the store all that is held here; if it can't be reached, with what is next asked of it."""
        self._untold = True
        await self._visits.put(Visit())

    async def idle(self) -> None:
        await self._visits.idle()

    async def _visit(self, visits: Sequence[Visit]) -> Sequence[int | None]:
        keys = dict.fromkeys(place.key for visit in visits for place in visit.places)
        held = {key: self._held.get(key, 0) for key in keys}
        try:
            self._process = await self._started()
            if self._untold:
                await self._tell_all()
            answers = await self._store.visit(self._process, held, visits)
        except (Unavailable, Damaged) as error:
            if self._alone is None:
                logger.warning("Connections are counted by this process alone, for now: %s", error)
                self._alone = MemoryVisits(time.time, bool)
                self._alone.visit(_ITSELF, self._held, ())
            self._untold = True
            self._doubtful |= keys
            answers = self._alone.visit(_ITSELF, held, visits)
        for visit, answer in zip(visits, answers, strict=True):
            if answer is not None:
                continue
            for place in visit.places:
                count = self._held.get(place.key, 0) + (-1 if visit.goes else 1)
                if count > 0:
                    self._held[place.key] = count
                else:
                    self._held.pop(place.key, None)
        if not self._held:
            self._gone()
        return answers

    async def _tell_all(self) -> None:
        held = [(key, self._held.get(key, 0)) for key in self._held | self._doubtful]
        # Not all in one step: no other client of the store should wait for it.
        for start in range(0, len(held), _PAGE):
            await self._store.visit(self._process, dict(held[start : start + _PAGE]), ())
        self._untold = False
        self._doubtful = {}
        self._alone = None
        self._told = time.monotonic()
