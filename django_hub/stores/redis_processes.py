"""The processes that the Redis store knows, and what becomes of those that died."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

from redis.asyncio.client import Pipeline

from django_hub.stores.base import Bury
from django_hub.stores.redis_state import PAGE, RedisState, microseconds, whole
from django_hub.stores.visits import Held, Visit


class RedisProcesses(RedisState):
    """See `Store.reap`."""

    async def beat(self, process: str) -> int:
        lease = microseconds(self.limits.process_lease)
        (life,) = await self._scripts.run(
            lambda p: self._scripts.call(p, "beat", self._processes, process, lease)
        )
        return int(life)

    async def reap(self, bury: Bury | None = None) -> list[tuple[str, str]]:
        graves_key = self._index("graves")
        keys = [*self._processes, graves_key]
        prefixes = self._index("process:"), self._index("grave:")
        (graves,) = await self._scripts.run(lambda p: self._scripts.call(p, "bury", keys, *prefixes))
        wakes: dict[str, str] = {}
        for grave in graves:
            died, _, process = grave.removeprefix(prefixes[1]).partition(":")
            async for entries in self._entries(grave):
                if bury is not None:
                    # Before the entries go: who fails, or dies, leaves them to the next one.
                    await bury(process, int(died) / 1_000_000, {json.loads(entry)[0] for entry in entries})
                await self._lose(grave, process, entries, wakes)
            # Those whose grace is not over, and those of damaged hubs, stay.
            if not await self._scripts.ask("EXISTS", grave):
                await self._scripts.ask("SREM", graves_key, grave)
        await self._free_the_taken()
        return list(wakes.items())

    async def visit(self, process: str, held: Held, visits: Sequence[Visit]) -> list[int | None]:
        return await self._visits.visit(process, held, visits)

    async def _entries(self, grave: str) -> AsyncIterator[list[str]]:
        """All that stay meanwhile, some of them twice."""
        cursor = 0
        while True:
            cursor, entries = await self._scripts.ask("SSCAN", grave, cursor, "COUNT", PAGE)
            if entries:
                yield entries
            if not int(cursor):
                return

    async def _free_the_taken(self) -> None:
        """Hubs that were held without mail are nobody's to ring for when their holder is dead."""
        taken = sorted(await self._scripts.ask("SMEMBERS", self._index("taken")))
        if not taken:
            return

        def fill(pipeline: Pipeline) -> None:
            for hub in taken:
                self._call(pipeline, "free", hub)

        answers = whole(taken, await self._scripts.run_each(fill))
        free = [(hub, gone) for hub, (held, gone) in answers if not held]
        if free:
            await self._forget_hubs([hub for hub, gone in free if gone])
            await self._scripts.ask("SREM", self._index("taken"), *(hub for hub, _ in free))

    async def _lose(self, grave: str, process: str, entries: list[str], wakes: dict[str, str]) -> None:
        """Clear some entries of a grave."""
        by_hub: dict[str, list[str]] = {}
        read = {entry: json.loads(entry) for entry in entries}
        for entry, (hub, *_) in read.items():
            by_hub.setdefault(hub, []).append(entry)

        def fill(pipeline: Pipeline) -> None:
            for hub, mine in by_hub.items():
                fields = [field for entry in mine for field in read[entry][1:]]
                self._call(pipeline, "lose", hub, int(self.limits.lost_ttl * 1000), *fields)
            pipeline.zadd(self._mail_key, dict.fromkeys(by_hub, 0))

        answers = await self._scripts.run_each(fill)
        cleared = dict(whole(by_hub, answers[: len(by_hub)]))
        wakes |= {hub: events for hub, (woken, events, _) in cleared.items() if woken}
        gone = {
            entry: read[entry]
            for hub, (_, _, done) in cleared.items()
            for entry, over in zip(by_hub[hub], done, strict=True)
            if over
        }

        def fill_grave(pipeline: Pipeline) -> None:
            self._leave_no_traces(pipeline, ((process, *names) for names in gone.values()))
            pipeline.srem(grave, *gone)

        # Only now: who dies before leaves the entries to the next one, and none is lost twice.
        if gone:
            await self._scripts.run(fill_grave)
