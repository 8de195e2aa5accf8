"""Visits in Redis: one script for all that wait, so that they are counted exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

from redis.asyncio.client import Pipeline

from django_hub.stores.scripts import Scripts
from django_hub.stores.visits import KEPT, Held, Visit


class RedisVisits:
    """Under the tag of the indexes, where the processes are: who is dead is asked in the same step.

    ``index`` makes a key there.
    """

    def __init__(self, scripts: Scripts, processes: str, index: Callable[[str], str]) -> None:
        self._scripts = scripts
        self._processes = processes
        self._index = index

    async def visit(self, process: str, held: Held, visits: Sequence[Visit]) -> list[int | None]:
        if not held and not visits:
            return []
        tallies: dict[str, int] = {}
        scores: dict[str, int] = {}
        for subject in (*(s for s, _ in held), *(p.subject for v in visits for p in v.places)):
            tallies.setdefault(subject, len(tallies) + 2)
        for subject in (score.subject for visit in visits for score in visit.scores):
            scores.setdefault(subject, len(tallies) + len(scores) + 2)
        args: list[str | int] = [process, int(KEPT * 1000), len(tallies), len(held)]
        for (subject, part), count in held.items():
            args += (tallies[subject], part, count)
        for visit in visits:
            args += (int(visit.goes), len(visit.places), len(visit.scores))
            for place in visit.places:
                args += (tallies[place.subject], place.part, "" if place.most is None else place.most)
            for score in visit.scores:
                args += (scores[score.subject], score.most, int(score.half_life * 1_000_000))
        keys = [self._processes, *(self._key("places", s) for s in tallies)]
        keys += [self._key("score", s) for s in scores]

        def fill(pipeline: Pipeline) -> None:
            self._scripts.call(pipeline, "visit", keys, *args)

        (answers,) = await self._scripts.run(fill)
        return [None if answer < 0 else answer for answer in answers]

    def _key(self, kind: str, subject: str) -> str:
        return self._index(f"{kind}:{blake2b(subject.encode(), digest_size=16).hexdigest()}")
