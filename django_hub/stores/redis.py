"""The store of many processes, in Redis or Valkey.

A hub's own state is under keys of one hash tag, and each operation on it is one Lua script
(`stores/lua`), so it is atomic and Redis Cluster stays possible. What spans hubs (which hubs there are,
which have mail, whose members died) are indexes under a tag of their own, written beside the scripts in the
same round trip. They may tell too much for a moment, and the hub itself is asked before they are believed;
and when an entry is removed the hub is looked at once more, for what came meanwhile.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence

from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from django_hub.exceptions import Damaged
from django_hub.names import DEFAULT_EVENTS
from django_hub.stores.ops import History, HubRecord, Number, Publication
from django_hub.stores.redis_mailboxes import RedisMailboxes
from django_hub.stores.redis_members import RedisMembers
from django_hub.stores.redis_processes import RedisProcesses
from django_hub.stores.redis_state import whole
from django_hub.stores.redis_survey import RedisSurvey


class RedisStore(RedisMembers, RedisMailboxes, RedisProcesses, RedisSurvey):
    """All of the contract for any number of processes. It belongs to the loop that first uses it.

    Its parts, each a file: `RedisState`, and on it `RedisMembers`, `RedisMailboxes`, `RedisProcesses` and
    `RedisSurvey`.
    """

    # Hubs

    async def create(
        self,
        name: str,
        events: str | None,
        history_size: int | None = None,
        history_ttl: float | None = None,
    ) -> HubRecord:
        history = ["" if option is None else repr(option) for option in (history_size, history_ttl)]

        def fill(pipeline: Pipeline) -> None:
            self._call(pipeline, "create", name, name, events or "", DEFAULT_EVENTS, *history)
            pipeline.zadd(self._hubs_key, {name: 0})

        answers = await self._scripts.run(fill)
        return _record(name, True, *answers[0])

    async def destroy(self, name: str) -> bool:
        ((there, vanished),) = await self._scripts.run(lambda p: self._call(p, "destroy", name))
        if vanished:
            await self._forget_hubs([name])
        return bool(there)

    async def hub(self, name: str) -> HubRecord | None:
        return (await self._records([name]))[0]

    async def hubs(self, after: str = "", most: int = 1000) -> list[HubRecord]:
        while True:
            names = await self._page(self._hubs_key, after, most)
            records = await self._records(names)
            gone = [name for name, record in zip(names, records, strict=True) if record is None]
            if gone:
                await self._forget_hubs(gone)
            found = [record for record in records if record]
            if found or not names:
                return found
            after = names[-1]

    async def _records(self, names: Sequence[str]) -> list[HubRecord | None]:
        def fill(pipeline: Pipeline) -> None:
            for name in names:
                pipeline.hmget(self._key(name, "hub"), "events", "named", "history_size", "history_ttl")

        answers = whole(names, await self._scripts.run_each(fill)) if names else []
        records = {
            name: _record(name, named == "1", events, *history)
            for name, (events, named, *history) in answers
            if events
        }
        return [records.get(name) for name in names]

    # For a while

    async def ban(self, hub: str, subject: str, seconds: float, reason: str) -> None:
        await self._marks.ban(hub, subject, seconds, reason)

    async def unban(self, hub: str, subject: str) -> bool:
        return await self._marks.unban(hub, subject)

    async def bans(self, asked: Sequence[tuple[str, str]]) -> list[str | Damaged | None]:
        return await self._marks.bans(asked)

    async def spend(self, ticket: str, by: str, seconds: float) -> bool:
        return await self._marks.spend(ticket, by, seconds)

    # Logs

    async def publish(self, publications: Sequence[Publication]) -> list[Number | Damaged | None]:
        return await self._logs.publish(publications)

    async def history(self, hub: str, after: int) -> History:
        return await self._logs.history(hub, "", after)

    async def sent(self, hub: str, client_id: str, after: int) -> History:
        return await self._logs.history(hub, client_id, after)

    async def positions(self, hubs: Collection[str]) -> dict[str, Number]:
        return await self._logs.positions(hubs)

    async def told(self, since: Mapping[str, int]) -> dict[str, dict[str, int]]:
        return await self._logs.told(since)

    async def epoch(self) -> str:
        key = self._index("epoch")

        def fill(pipeline: Pipeline) -> None:
            pipeline.set(key, secrets.token_hex(8), nx=True)
            pipeline.get(key)

        # Asked first: a server at its maxmemory refuses also what would write nothing.
        return str(await self._scripts.ask("GET", key) or (await self._scripts.run(fill))[1])

    async def remarks(self) -> list[str]:
        try:
            policy = (await self._redis.config_get("maxmemory-policy"))["maxmemory-policy"]
        except (RedisError, OSError, KeyError):
            return []  # a hosted Redis may not tell
        if policy in ("noeviction", "volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random"):
            return []
        remark = (
            f"Redis has maxmemory-policy {policy}: when it is full it removes members and events that are "
            "not handled, without a word. Set 'maxmemory-policy noeviction'."
        )
        return [remark]

    async def close(self) -> None:
        await self._freed.idle()
        await self._redis.aclose(close_connection_pool=True)


def _record(name: str, named: bool, events: str, size: str | None, ttl: str | None) -> HubRecord:
    return HubRecord(
        name=name,
        events=events,
        named=named,
        history_size=None if size is None else int(size),
        history_ttl=None if ttl is None else float(ttl),
    )
