"""The members of the Redis store, and the one ordered write path."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from redis.asyncio.client import Pipeline

from django_hub.events import read_description
from django_hub.exceptions import Damaged
from django_hub.members import Member
from django_hub.stores.ops import (
    Address,
    Applied,
    Join,
    Leave,
    Lose,
    Number,
    Op,
    Outcome,
    Post,
    Update,
)
from django_hub.stores.redis_state import RedisState, entry, microseconds, threes

# Ops of one hub in one call of the script: while it runs, nobody else is answered.
_AT_ONCE = 250
# As in the memory store: more than a client can open while one call is repeated.
_REMEMBERED = 8
_OUTCOMES = (
    *(Outcome.DONE, Outcome.FULL, Outcome.UNKNOWN),
    *(Outcome.REPLACED, Outcome.RESUMED, Outcome.CROWDED),
)


class RedisMembers(RedisState):
    """See `Store.apply`. One script for the ops of a hub, and one round trip for all hubs."""

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
        for found in entries:
            hub, connection = json.loads(found)
            member = await self.member(hub, client_id)
            if member is not None and member.connection == connection:
                return member
        return None

    async def count(self, hub: str) -> int:
        return int(await self._scripts.ask("HLEN", self._key(hub, "members")))

    async def apply(self, ops: Sequence[Op]) -> Applied:
        if not ops:
            return Applied(outcomes=[])
        by_hub: dict[str, list[int]] = {}
        for number, op in enumerate(ops):
            by_hub.setdefault(op.hub, []).append(number)
        calls = [
            (hub, numbers[at : at + _AT_ONCE])
            for hub, numbers in by_hub.items()
            for at in range(0, len(numbers), _AT_ONCE)
        ]
        joins = [op for op in ops if isinstance(op, Join)]

        start = 0
        ttl = int(self.limits.lost_ttl * 1000)

        def fill(pipeline: Pipeline) -> None:
            nonlocal start
            # The traces of a member are there before it is, and what finds a hub once it is there.
            self._enter(pipeline, joins)
            start = len(pipeline)
            for hub, numbers in calls:
                fields = [field for number in numbers for field in _fields(ops[number])]
                self._call(pipeline, "apply", hub, self.limits.mailbox, hub, _REMEMBERED, ttl, *fields)
            pipeline.zadd(self._mail_key, dict.fromkeys(by_hub, 0))
            if joins:
                pipeline.zadd(self._hubs_key, {join.hub: 0 for join in joins})

        answers = await self._scripts.run_each(fill)
        for answer in (*answers[:start], *answers[start + len(calls) :]):
            if isinstance(answer, Damaged):
                raise answer  # an index, and so everybody's
        applied = Applied(outcomes=[Outcome.DONE] * len(ops))
        # Their traces go when they are known to be gone: a script may be refused, and this process end.
        gone: list[tuple[str, str, str, str]] = []
        for (hub, numbers), answer in zip(calls, answers[start:], strict=False):
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
            if any(isinstance(ops[number], Join) for number in numbers):
                # Of several the first: what was published since is for those that had joined by then.
                applied.logs.setdefault(hub, Number(log[0], int(log[1])) if log else Number("", 0))
            for client_id, process, connection in threes(replaced):
                address = Address(process, connection)
                applied.replaced.append((hub, address))
                gone.append((address.process, hub, client_id, connection))
        if gone:
            await self._scripts.run(lambda pipeline: self._leave_no_traces(pipeline, gone))
        return applied

    def _enter(self, pipeline: Pipeline, joins: Iterable[Join]) -> None:
        entries: dict[str, list[str]] = {}
        for join in joins:
            entries.setdefault(join.process, []).append(entry(join.hub, join.client_id, join.connection))
        # First: by these all else is found, and cleared, where this process dies on the way.
        for process, mine in entries.items():
            keys = [self._processes[0], self._index("process:") + process]
            lease = microseconds(self.limits.process_lease)
            self._scripts.call(pipeline, "enter", keys, process, lease, *mine)
        for join in joins:
            pipeline.zadd(self._client_key(join.client_id), {entry(join.hub, join.connection): join.at})


def _fields(op: Op) -> list[str | int]:
    match op:
        case Join():
            where = [op.connection, op.process, op.events]
            again = op.again, op.posted
            member = op.who, repr(op.at), op.body, *again, microseconds(op.grace), op.resumed
            most = "" if op.most is None else op.most
            return ["join", op.client_id, *where, *member, most]
        case Post():
            return ["post", op.client_id, op.connection, op.number, op.body, "own" if op.own else ""]
        case Leave():
            return ["leave", op.client_id, op.connection, op.body]
        case Lose():
            return ["lose", op.client_id, op.connection, op.body]
        case Update():
            return ["update", op.client_id, op.connection, op.who, op.body]


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
