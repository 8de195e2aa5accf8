"""The mailboxes of the Redis store, their leases, and the dead letters."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from redis.asyncio.client import Pipeline

from django_hub.exceptions import Damaged
from django_hub.stores.letters import read_dead_letter, read_letter, write_dead_letter
from django_hub.stores.ops import Address, Claim, Commit, DeadLetter, Lease
from django_hub.stores.redis_state import PAGE, RedisState, microseconds, threes, whole


class RedisMailboxes(RedisState):
    """See `Store.claim` and `Store.commit`."""

    async def claim(self, hubs: Sequence[str], worker: str, ring: str = "") -> list[Claim]:
        lease = microseconds(self.limits.hub_lease)

        def fill(pipeline: Pipeline) -> None:
            if ring:
                pipeline.sadd(self._index("taken"), *hubs)
            for hub in hubs:
                token = secrets.token_hex(8)
                self._call(pipeline, "claim", hub, worker, token, lease, self.limits.batch, ring)

        answers = await self._scripts.run_each(fill)
        return [_claim(hub, answer) for hub, answer in zip(hubs, answers[-len(hubs) :], strict=True)]

    async def commit(self, commits: Sequence[Commit]) -> list[Claim]:
        lease = microseconds(self.limits.hub_lease)
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
        lease = microseconds(self.limits.hub_lease)

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
            names = await self._page(self._mail_key, after, PAGE)
            if not names:
                return found
            after = names[-1]
            answers = whole(names, await self._ring(names))
            found += [(hub, answer[1]) for hub, answer in answers if answer[0] == 2]
            without = [(hub, answer[1]) for hub, answer in answers if not answer[0]]
            await self._forget_hubs([hub for hub, gone in without if gone])
            await self._forget_mail([hub for hub, _ in without])

    async def _ring(self, hubs: Iterable[str]) -> list[Any]:
        def fill(pipeline: Pipeline) -> None:
            for hub in hubs:
                self._call(pipeline, "ring", hub, microseconds(self.limits.ring_again))

        return await self._scripts.run_each(fill)

    async def waiting_in(self, hubs: Collection[str]) -> dict[str, int]:
        def fill(pipeline: Pipeline) -> None:
            for hub in hubs:
                pipeline.llen(self._key(hub, "mail"))

        # A damaged one has no mail that could be counted, and the others' is to be known.
        waiting = whole(hubs, await self._scripts.run_each(fill)) if hubs else []
        return dict.fromkeys(hubs, 0) | dict(waiting)

    async def with_mail(self, after: str = "", most: int = 1000) -> list[str]:
        return await self._page(self._mail_key, after, most)

    async def waiting(self) -> int:
        count, after = 0, ""
        while names := await self._page(self._mail_key, after, PAGE):
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


def _claim(hub: str, answer: list[Any] | Damaged) -> Claim:
    if isinstance(answer, Damaged):
        return Claim(hub, Lease.DAMAGED, error=answer)
    if answer[0] == 1:
        _, token, letters, flat, tries = answer
        addresses = {client_id: Address(*where) for client_id, *where in threes(flat)}
        return Claim(hub, Lease.HELD, token, tuple(map(read_letter, letters)), addresses, tries)
    return Claim(hub, Lease.FREE if answer[0] == 0 else Lease.LOST)
