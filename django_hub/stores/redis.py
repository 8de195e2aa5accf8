"""The store of many processes, in Redis or Valkey.

A hub's own state is under keys of one hash tag, and each operation on it is one Lua script
(`stores/lua`), so it is atomic and Redis Cluster stays possible. What spans hubs (which hubs there are,
which have mail, whose members died) are indexes under a tag of their own, written beside the scripts in the
same round trip. They may tell too much for a moment, and the hub itself is asked before they are believed;
and when an entry is removed the hub is looked at once more, for what came meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from hashlib import blake2b
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from django_hub.batching import Batcher
from django_hub.events import read_description
from django_hub.exceptions import Damaged, Unavailable
from django_hub.limits import Limits
from django_hub.logs import get_logger
from django_hub.members import Member
from django_hub.names import DEFAULT_EVENTS, group_name
from django_hub.stores.base import Bury, Store
from django_hub.stores.letters import read_dead_letter, read_letter, write_dead_letter
from django_hub.stores.ops import (
    Address,
    Applied,
    Claim,
    Commit,
    DeadLetter,
    History,
    HubRecord,
    Join,
    Lease,
    Leave,
    Lose,
    Number,
    Op,
    Outcome,
    Post,
    Publication,
    Update,
)
from django_hub.stores.redis_logs import RedisLogs
from django_hub.stores.redis_visits import RedisVisits
from django_hub.stores.scripts import Scripts
from django_hub.stores.visits import Held, Visit

logger = get_logger(__name__)

# As in the memory store: more than a client can open while one call is repeated.
_REMEMBERED = 8
_PARTS = (
    *("hub", "members", "ids", "posted", "mail", "dead", "lost"),
    *("log", "history", "sent", "own"),
)
_OUTCOMES = (
    *(Outcome.DONE, Outcome.FULL, Outcome.UNKNOWN),
    *(Outcome.REPLACED, Outcome.RESUMED, Outcome.CROWDED),
)
# Seconds after which hubs that were freed are looked at, to be taken out of the indexes.
_TIDY = 0.1
# Entries of a dead process cleared in one round trip.
_PAGE = 500


class RedisStore(Store):
    """All of the contract for any number of processes. It belongs to the loop that first uses it."""

    def __init__(self, redis: Redis, prefix: str, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._redis = redis
        self._scripts = Scripts(redis)
        self._prefix = prefix
        self._logs = RedisLogs(self._scripts, self.limits, self._call)
        self._hubs_key = self._index("hubs")
        self._mail_key = self._index("mail")
        self._processes = [self._index("processes"), self._index("lives")]
        self._visits = RedisVisits(self._scripts, self._processes[0], self._index)
        self._freed: Batcher[tuple[str, bool], None] = Batcher(self._forget_freed)

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

    # Members

    async def member(self, hub: str, client_id: str) -> Member | None:
        record = await self._scripts.ask("HGET", self._key(hub, "members"), client_id)
        return _member(hub, client_id, record) if record else None

    async def members(self, hub: str, after: str = "", most: int = 1000) -> list[Member]:
        (page,) = await self._scripts.run(lambda p: self._call(p, "members", hub, after, most))
        return [
            _member(hub, client_id, record) for client_id, record in zip(page[::2], page[1::2], strict=True)
        ]

    async def find(self, client_id: str) -> Member | None:
        key = self._client_key(client_id)
        entries = await self._scripts.ask("ZREVRANGE", key, 0, -1)
        for entry in entries:
            hub, connection = json.loads(entry)
            member = await self.member(hub, client_id)
            if member is not None and member.connection == connection:
                return member
        return None

    async def count(self, hub: str) -> int:
        return int(await self._scripts.ask("HLEN", self._key(hub, "members")))

    # The one ordered write path

    async def apply(self, ops: Sequence[Op]) -> Applied:
        if not ops:
            return Applied(outcomes=[])
        by_hub: dict[str, list[int]] = {}
        for number, op in enumerate(ops):
            by_hub.setdefault(op.hub, []).append(number)
        joins = [op for op in ops if isinstance(op, Join)]
        joined = {join.hub for join in joins}

        start = 0
        ttl = int(self.limits.lost_ttl * 1000)

        def fill(pipeline: Pipeline) -> None:
            nonlocal start
            # The traces of a member are there before it is, and what finds a hub once it is there.
            self._enter(pipeline, joins)
            start = len(pipeline)
            for hub, numbers in by_hub.items():
                fields = [field for number in numbers for field in _fields(ops[number])]
                self._call(pipeline, "apply", hub, self.limits.mailbox, hub, _REMEMBERED, ttl, *fields)
            pipeline.zadd(self._mail_key, dict.fromkeys(by_hub, 0))
            if joins:
                pipeline.zadd(self._hubs_key, {join.hub: 0 for join in joins})

        answers = await self._scripts.run_each(fill)
        for answer in (*answers[:start], *answers[start + len(by_hub) :]):
            if isinstance(answer, Damaged):
                raise answer  # an index, and so everybody's
        applied = Applied(outcomes=[Outcome.DONE] * len(ops))
        # Their traces go when they are known to be gone: a script may be refused, and this process end.
        gone: list[tuple[str, str, str, str]] = []
        for (hub, numbers), answer in zip(by_hub.items(), answers[start:], strict=False):
            if isinstance(answer, Damaged):
                for number in numbers:
                    applied.outcomes[number] = answer
                continue
            woken, events, outcomes, replaced, log = answer
            for number, outcome in zip(numbers, outcomes, strict=True):
                applied.outcomes[number] = _OUTCOMES[outcome]
                op = ops[number]
                if isinstance(op, Leave) or (
                    isinstance(op, Join) and applied.outcomes[number] is Outcome.CROWDED
                ):
                    gone.append((op.process, hub, op.client_id, op.connection))
            if woken:
                applied.wakes.append((hub, events))
            if hub in joined:
                applied.logs[hub] = Number(log[0], int(log[1])) if log else Number("", 0)
            for client_id, process, connection in _threes(replaced):
                address = Address(process, connection)
                applied.replaced.append((hub, address))
                gone.append((address.process, hub, client_id, connection))
        if gone:
            await self._scripts.run(lambda pipeline: self._leave_no_traces(pipeline, gone))
        return applied

    def _enter(self, pipeline: Pipeline, joins: Iterable[Join]) -> None:
        entries: dict[str, list[str]] = {}
        for join in joins:
            entries.setdefault(join.process, []).append(_entry(join.hub, join.client_id, join.connection))
            pipeline.zadd(self._client_key(join.client_id), {_entry(join.hub, join.connection): join.at})
        for process, mine in entries.items():
            keys = [self._processes[0], self._index("process:") + process]
            lease = _microseconds(self.limits.process_lease)
            self._scripts.call(pipeline, "enter", keys, process, lease, *mine)

    def _leave_no_traces(self, pipeline: Pipeline, gone: Iterable[tuple[str, str, str, str]]) -> None:
        for process, hub, client_id, connection in gone:
            pipeline.srem(self._index("process:") + process, _entry(hub, client_id, connection))
            pipeline.zrem(self._client_key(client_id), _entry(hub, connection))

    # Logs

    async def publish(self, publications: Sequence[Publication]) -> list[Number | Damaged | None]:
        return await self._logs.publish(publications)

    async def history(self, hub: str, after: int) -> History:
        return await self._logs.history(hub, "", after)

    async def sent(self, hub: str, client_id: str, after: int) -> History:
        return await self._logs.history(hub, client_id, after)

    async def positions(self, hubs: Collection[str]) -> dict[str, Number]:
        return await self._logs.positions(hubs)

    # Mailboxes

    async def claim(self, hubs: Sequence[str], worker: str, ring: str = "") -> list[Claim]:
        lease = _microseconds(self.limits.hub_lease)

        def fill(pipeline: Pipeline) -> None:
            if ring:
                pipeline.sadd(self._index("taken"), *hubs)
            for hub in hubs:
                token = secrets.token_hex(8)
                self._call(pipeline, "claim", hub, worker, token, lease, self.limits.batch, ring)

        answers = await self._scripts.run_each(fill)
        return [_claim(hub, answer) for hub, answer in zip(hubs, answers[-len(hubs) :], strict=True)]

    async def commit(self, commits: Sequence[Commit]) -> list[Claim]:
        lease = _microseconds(self.limits.hub_lease)
        ttl = int(self.limits.dead_letter_ttl * 1000)

        def fill(pipeline: Pipeline) -> None:
            for commit in commits:
                self._call(
                    pipeline,
                    "commit",
                    commit.hub,
                    commit.token,
                    commit.position,
                    int(commit.release),
                    lease,
                    self.limits.batch,
                    self.limits.dead_letters,
                    ttl,
                    *map(write_dead_letter, commit.dead),
                )

        answers = await self._scripts.run_each(fill)
        freed = [
            (commit.hub, *answer[1:])
            for commit, answer in zip(commits, answers, strict=True)
            if not isinstance(answer, Damaged) and not answer[0]
        ]
        # Not waited for: a hub's next event must not wait for its index.
        for hub, vanished, empty in freed:
            if empty or vanished:
                self._freed.put((hub, bool(vanished)))
        return [_claim(commit.hub, answer) for commit, answer in zip(commits, answers, strict=True)]

    async def renew(self, leases: Sequence[tuple[str, str]]) -> list[bool]:
        lease = _microseconds(self.limits.hub_lease)

        def fill(pipeline: Pipeline) -> None:
            for hub, token in leases:
                self._call(pipeline, "renew", hub, token, lease)

        if not leases:
            return []
        return [answer == 1 for answer in await self._scripts.run_each(fill)]

    async def unclaimed(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        after = ""
        while True:
            names = await self._page(self._mail_key, after, _PAGE)
            if not names:
                return found
            after = names[-1]
            answers = _whole(names, await self._ring(names))
            found += [(hub, answer[1]) for hub, answer in answers if answer[0] == 2]
            without = [(hub, answer[1]) for hub, answer in answers if not answer[0]]
            await self._forget_hubs([hub for hub, gone in without if gone])
            await self._forget_mail([hub for hub, _ in without])

    async def _ring(self, hubs: Iterable[str]) -> list[Any]:
        def fill(pipeline: Pipeline) -> None:
            for hub in hubs:
                self._call(pipeline, "ring", hub, _microseconds(self.limits.ring_again))

        return await self._scripts.run_each(fill)

    async def waiting_in(self, hubs: Collection[str]) -> dict[str, int]:
        def fill(pipeline: Pipeline) -> None:
            for hub in hubs:
                pipeline.llen(self._key(hub, "mail"))

        # A damaged one has no mail that could be counted, and the others' is to be known.
        waiting = _whole(hubs, await self._scripts.run_each(fill)) if hubs else []
        return dict.fromkeys(hubs, 0) | dict(waiting)

    async def waiting(self) -> int:
        count, after = 0, ""
        while names := await self._page(self._mail_key, after, _PAGE):
            # The index may tell of more than there is.
            there = await self._there(names, "mail")
            await self._forget_mail([name for name, exists in zip(names, there, strict=True) if not exists])
            count += sum(there)
            after = names[-1]
        return count

    async def dead_letters(self, hub: str) -> list[DeadLetter]:
        letters = await self._scripts.ask("LRANGE", self._key(hub, "dead"), 0, -1)
        return [read_dead_letter(hub, text) for text in letters]

    async def drop_dead_letters(self, hub: str) -> int:
        key = self._key(hub, "dead")
        count = await self._scripts.ask("LLEN", key)
        await self._scripts.ask("DEL", key)
        return int(count)

    # Processes

    async def beat(self, process: str) -> int:
        lease = _microseconds(self.limits.process_lease)
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

    async def _entries(self, grave: str) -> AsyncIterator[list[str]]:
        """All that stay meanwhile, some of them twice."""
        cursor = 0
        while True:
            cursor, entries = await self._scripts.ask("SSCAN", grave, cursor, "COUNT", _PAGE)
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

        answers = _whole(taken, await self._scripts.run_each(fill))
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
        cleared = dict(_whole(by_hub, answers[: len(by_hub)]))
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

    async def visit(self, process: str, held: Held, visits: Sequence[Visit]) -> list[int | None]:
        return await self._visits.visit(process, held, visits)

    async def epoch(self) -> str:
        def fill(pipeline: Pipeline) -> None:
            pipeline.set(self._index("epoch"), secrets.token_hex(8), nx=True)
            pipeline.get(self._index("epoch"))

        return str((await self._scripts.run(fill))[1])

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

    # Keys and indexes

    def _index(self, name: str) -> str:
        return f"{self._prefix}:{{indexes}}:{name}"

    def _key(self, hub: str, part: str) -> str:
        return f"{self._prefix}:{{{group_name(hub)}}}:{part}"

    def _client_key(self, client_id: str) -> str:
        return f"{self._prefix}:client:{blake2b(client_id.encode(), digest_size=16).hexdigest()}"

    def _call(self, pipeline: Pipeline, script: str, hub: str, *args: str | int) -> None:
        base = f"{self._prefix}:{{{group_name(hub)}}}:"
        self._scripts.call(pipeline, script, [base + part for part in _PARTS], *args)

    async def _page(self, index: str, after: str, most: int) -> list[str]:
        low = f"({after}" if after else "-"
        names: list[str] = await self._scripts.ask("ZRANGEBYLEX", index, low, "+", "LIMIT", 0, most)
        return names

    async def _records(self, names: Sequence[str]) -> list[HubRecord | None]:
        def fill(pipeline: Pipeline) -> None:
            for name in names:
                pipeline.hmget(self._key(name, "hub"), "events", "named", "history_size", "history_ttl")

        answers = _whole(names, await self._scripts.run_each(fill)) if names else []
        records = {
            name: _record(name, named == "1", events, *history)
            for name, (events, named, *history) in answers
            if events
        }
        return [records.get(name) for name in names]

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


def _entry(*names: str) -> str:
    """An index's entry: names may have any character, a separator too."""
    return json.dumps(names)


def _fields(op: Op) -> list[str | int]:
    match op:
        case Join():
            where = [op.connection, op.process, op.events]
            again = op.again, op.posted
            member = op.who, repr(op.at), op.body, *again, _microseconds(op.grace), op.resumed
            most = "" if op.most is None else op.most
            return ["join", op.client_id, *where, *member, most]
        case Post():
            return ["post", op.client_id, op.connection, op.number, op.body]
        case Leave():
            return ["leave", op.client_id, op.connection, op.body]
        case Lose():
            return ["lose", op.client_id, op.connection, op.body]
        case Update():
            return ["update", op.client_id, op.connection, op.who, op.body]


def _record(name: str, named: bool, events: str, size: str | None, ttl: str | None) -> HubRecord:
    return HubRecord(
        name=name,
        events=events,
        named=named,
        history_size=None if size is None else int(size),
        history_ttl=None if ttl is None else float(ttl),
    )


def _member(hub: str, client_id: str, record: str) -> Member:
    connection, process, at, _, _, lost, who = record.split("\n", 6)
    _, user_id, meta, presence = read_description(who)
    return Member(
        hub=hub,
        client_id=client_id,
        user_id=user_id,
        meta=meta,
        process=process,
        connection=connection,
        at=float(at),
        state="lost" if lost else "online",
        presence=presence,
    )


def _whole(hubs: Iterable[str], answers: Iterable[Any]) -> list[tuple[str, Any]]:
    """Each hub with its answer; those that are damaged are logged and left out."""
    whole = []
    for hub, answer in zip(hubs, answers, strict=True):
        if isinstance(answer, Damaged):
            logger.error("Hub %s is left alone. %s", hub, answer)
        else:
            whole.append((hub, answer))
    return whole


def _claim(hub: str, answer: list[Any] | Damaged) -> Claim:
    if isinstance(answer, Damaged):
        return Claim(hub, Lease.DAMAGED, error=answer)
    if answer[0] == 1:
        _, token, letters, flat = answer
        addresses = {client_id: Address(*where) for client_id, *where in _threes(flat)}
        return Claim(hub, Lease.HELD, token, tuple(map(read_letter, letters)), addresses)
    return Claim(hub, Lease.FREE if answer[0] == 0 else Lease.LOST)


def _threes(flat: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    return zip(flat[::3], flat[1::3], flat[2::3], strict=True)


def _microseconds(seconds: float) -> int:
    return int(seconds * 1_000_000)
