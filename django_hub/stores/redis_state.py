"""Where the Redis store keeps what: its keys, its indexes, and how both are asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from django_hub.batching import Batcher
from django_hub.exceptions import Damaged, Unavailable
from django_hub.limits import Limits
from django_hub.logs import get_logger
from django_hub.names import group_name
from django_hub.stores.base import Store
from django_hub.stores.redis_logs import RedisLogs
from django_hub.stores.redis_marks import RedisMarks
from django_hub.stores.redis_visits import RedisVisits
from django_hub.stores.scripts import Scripts

logger = get_logger(__name__)

_PARTS = (
    *("hub", "members", "ids", "posted", "mail", "dead", "lost"),
    *("log", "history", "sent", "own", "told", "tail"),
)
# Seconds after which hubs that were freed are looked at, to be taken out of the indexes.
_TIDY = 0.1
# Entries taken of an index in one round trip.
PAGE = 500


class RedisState(Store):
    """What the parts of the store share. It belongs to the loop that first uses it."""

    def __init__(self, redis: Redis, prefix: str, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._redis = redis
        self._scripts = Scripts(redis)
        self._prefix = prefix
        self._logs = RedisLogs(self._scripts, self.limits, self._call)
        self._marks = RedisMarks(self._scripts, self._key, self._index)
        self._hubs_key = self._index("hubs")
        self._mail_key = self._index("mail")
        self._processes = [self._index("processes"), self._index("lives")]
        self._visits = RedisVisits(self._scripts, self._processes[0], self._index)
        self._freed: Batcher[tuple[str, bool], None] = Batcher(self._forget_freed)

    # Keys

    def _index(self, name: str) -> str:
        return f"{self._prefix}:{{indexes}}:{name}"

    def _key(self, hub: str, part: str) -> str:
        return f"{self._prefix}:{{{group_name(hub)}}}:{part}"

    def _client_key(self, client_id: str) -> str:
        return f"{self._prefix}:client:{blake2b(client_id.encode(), digest_size=16).hexdigest()}"

    def _call(self, pipeline: Pipeline, script: str, hub: str, *args: str | int) -> None:
        base = f"{self._prefix}:{{{group_name(hub)}}}:"
        self._scripts.call(pipeline, script, [base + part for part in _PARTS], *args)

    # Indexes

    async def _page(self, index: str, after: str, most: int) -> list[str]:
        low = f"({after}" if after else "-"
        names: list[str] = await self._scripts.ask("ZRANGEBYLEX", index, low, "+", "LIMIT", 0, most)
        return names

    def _leave_no_traces(self, pipeline: Pipeline, gone: Iterable[tuple[str, str, str, str]]) -> None:
        entries: dict[str, list[str]] = {}
        for process, hub, client_id, connection in gone:
            entries.setdefault(process, []).append(entry(hub, client_id, connection))
            pipeline.zrem(self._client_key(client_id), entry(hub, connection))
        for process, theirs in entries.items():
            pipeline.srem(self._index("process:") + process, *theirs)

    async def _forget_freed(self, freed: Sequence[tuple[str, bool]]) -> list[None]:
        """Remove hubs without mail, and those that vanished, from the indexes."""
        # A little later: a busy hub is freed, and has mail again, a hundred times a second.
        await asyncio.sleep(_TIDY)
        # In this order: what is left undone shows in the index of mail, to who looks for unclaimed mail.
        try:
            await self._forget_hubs(list(dict.fromkeys(hub for hub, vanished in freed if vanished)))
            await self._forget_mail(list(dict.fromkeys(hub for hub, _ in freed)))
        except Unavailable:
            pass
        except Exception:
            # Nobody waits for this.
            logger.exception("%d hubs were not taken out of the indexes", len(freed))
        return [None] * len(freed)

    async def _forget_hubs(self, names: Sequence[str]) -> None:
        """Remove hubs from the index; one that is there again stays."""
        await self._forget(self._hubs_key, names, "hub")

    async def _forget_mail(self, names: Sequence[str]) -> None:
        await self._forget(self._mail_key, names, "mail")

    async def _there(self, names: Sequence[str], part: str) -> list[int]:
        def fill(pipeline: Pipeline) -> None:
            for name in names:
                pipeline.exists(self._key(name, part))

        return await self._scripts.run(fill)

    async def _forget(self, index: str, names: Sequence[str], part: str) -> None:
        if not names:
            return

        def fill(pipeline: Pipeline) -> None:
            # In this order: what comes after the look enters itself after it, too.
            pipeline.zrem(index, *names)
            for name in names:
                pipeline.exists(self._key(name, part))

        _, *there = await self._scripts.run(fill)
        back = [name for name, exists in zip(names, there, strict=True) if exists]
        if back:
            await self._scripts.run(lambda pipeline: pipeline.zadd(index, dict.fromkeys(back, 0)))


def entry(*names: str) -> str:
    """An index's entry: names may have any character, a separator too."""
    return json.dumps(names)


def whole(hubs: Iterable[str], answers: Iterable[Any]) -> list[tuple[str, Any]]:
    """Each hub with its answer; those that are damaged are logged and left out."""
    whole = []
    for hub, answer in zip(hubs, answers, strict=True):
        if isinstance(answer, Damaged):
            logger.error("Hub %s is left alone. %s", hub, answer)
        else:
            whole.append((hub, answer))
    return whole


def threes(flat: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    return zip(flat[::3], flat[1::3], flat[2::3], strict=True)


def microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)
