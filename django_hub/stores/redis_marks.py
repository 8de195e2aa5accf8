"""What the Redis store remembers for a while: who is banned, which tickets are spent.

Each is a key of its own that Redis itself forgets in time: nothing has to be swept, and it is the server's
clock that counts. (A hash a hub would be fewer keys, but its fields have a time of their own only from
Redis 7.4 on.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from redis.asyncio.client import Pipeline

from django_hub.exceptions import Damaged
from django_hub.stores.scripts import Scripts


class RedisMarks:
    """See `Store.ban` and `Store.spend`. ``key`` gives a hub's key of that name, ``index`` a site's."""

    def __init__(
        self, scripts: Scripts, key: Callable[[str, str], str], index: Callable[[str], str]
    ) -> None:
        self._scripts = scripts
        self._key = key
        self._index = index

    async def ban(self, hub: str, subject: str, seconds: float, reason: str) -> None:
        await self._scripts.ask("SET", self._ban(hub, subject), reason, "PX", _milliseconds(seconds))

    async def unban(self, hub: str, subject: str) -> bool:
        return bool(await self._scripts.ask("DEL", self._ban(hub, subject)))

    async def bans(self, asked: Sequence[tuple[str, str]]) -> list[str | Damaged | None]:
        # The keys of one hub have one hash tag, and go as one command.
        by_hub = [
            [self._ban(*each) for each in group] for _, group in groupby(asked, key=lambda each: each[0])
        ]

        def fill(pipeline: Pipeline) -> None:
            for keys in by_hub:
                pipeline.mget(keys)

        if not asked:
            return []
        answers = await self._scripts.run_each(fill)
        found: list[str | Damaged | None] = []
        for keys, answer in zip(by_hub, answers, strict=True):
            found += [answer] * len(keys) if isinstance(answer, Damaged) else answer
        return found

    async def spend(self, ticket: str, by: str, seconds: float) -> bool:
        key = self._index(f"spent:{ticket}")

        def fill(pipeline: Pipeline) -> None:
            pipeline.set(key, by, px=_milliseconds(seconds), nx=True)
            pipeline.get(key)

        return bool((await self._scripts.run(fill))[1] == by)

    def _ban(self, hub: str, subject: str) -> str:
        return self._key(hub, f"ban:{subject}")


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))
