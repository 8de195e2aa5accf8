"""What the Redis store tells who looks: see `Surveyed`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from redis.asyncio.client import Pipeline

from django_hub.exceptions import Damaged
from django_hub.stores.letters import client_of, read_letter, write_dead_letter
from django_hub.stores.ops import DeadLetter
from django_hub.stores.redis_state import RedisState
from django_hub.stores.survey import TAIL_TTL, Handled, HubSurvey, Revived, Tail, Totals

# Hubs surveyed in one round trip: others on this loop, and at the broker, have their turn in between.
_AT_ONCE = 50
# What survey.lua looks at: of a hundred thousand hubs, all of whose keys would be most of the work here.
_LOOKED_AT = ("hub", "members", "mail", "dead", "log")


class RedisSurvey(RedisState):
    async def survey(self, hubs: Sequence[str]) -> list[HubSurvey]:
        states: list[HubSurvey] = []
        for start in range(0, len(hubs), _AT_ONCE):
            some = hubs[start : start + _AT_ONCE]
            answers = await self._scripts.run_each(partial(self._ask, some))
            states += [_state(hub, answer) for hub, answer in zip(some, answers, strict=True)]
        return states

    async def survey_page(self, after: str = "", most: int = 1000) -> list[HubSurvey]:
        while True:
            names = await self._page(self._hubs_key, after, most)
            states = await self.survey(names)
            found = [state for state in states if state.there or state.error]
            if gone := [state.name for state in states if not (state.there or state.error)]:
                await self._forget_hubs(gone)
            if found or not names:
                return found
            after = names[-1]

    def _ask(self, hubs: Sequence[str], pipeline: Pipeline) -> None:
        for hub in hubs:
            base = self._key(hub, "")
            self._scripts.call(pipeline, "survey", [base + part for part in _LOOKED_AT])

    async def totals(self) -> Totals:
        processes = await self.processes(1000)

        def fill(pipeline: Pipeline) -> None:
            pipeline.zcard(self._index("hubs"))
            pipeline.zcard(self._index("mail"))
            for process in processes:
                pipeline.scard(self._index("process:") + process)

        hubs, with_mail, *members = await self._scripts.run(fill)
        return Totals(hubs=hubs, members=sum(members), with_mail=with_mail)

    async def busy(self, most: int) -> list[str]:
        names: list[str] = await self._scripts.ask("ZRANGE", self._index("mail"), 0, most - 1)
        return names

    async def processes(self, most: int) -> list[str]:
        # By this clock, which need not be the server's: an hour wrong tells of more, or of fewer, no worse.
        now = int(time.time() * 1_000_000)
        key = self._index("processes")
        names: list[str] = await self._scripts.ask("ZRANGEBYSCORE", key, now, "+inf", "LIMIT", 0, most)
        return names

    async def tail(self, hub: str, after: int | None, most: int = 200) -> Tail:
        ttl = int(TAIL_TTL * 1000)
        since = "" if after is None else after
        ((last, missed, items),) = await self._scripts.run(
            lambda p: self._call(p, "tail", hub, ttl, since, most)
        )
        return Tail(int(last), tuple(map(_handled, items)), bool(missed))

    async def revive(self, letters: Sequence[DeadLetter]) -> Revived:
        if not letters:
            return Revived(0)
        hub = letters[0].hub
        words: list[str] = []
        for letter in letters:
            words += [write_dead_letter(letter), client_of(letter), letter.body]

        def fill(pipeline: Pipeline) -> None:
            self._call(pipeline, "revive", hub, *words)
            pipeline.zadd(self._index("mail"), {hub: 0})

        count, woken, events = (await self._scripts.run(fill))[0]
        return Revived(count, [(hub, events)] if woken else [])

    async def discard(self, letters: Sequence[DeadLetter]) -> int:
        by_hub: dict[str, list[str]] = {}
        for letter in letters:
            by_hub.setdefault(letter.hub, []).append(write_dead_letter(letter))

        def fill(pipeline: Pipeline) -> None:
            for hub, words in by_hub.items():
                self._call(pipeline, "discard", hub, *words)

        return sum(await self._scripts.run(fill)) if by_hub else 0


def _state(hub: str, answer: list[Any] | Damaged) -> HubSurvey:
    if isinstance(answer, Damaged):
        return HubSurvey(name=hub, error=str(answer))
    there, events, members, mail, oldest, now, dead, worker, seq = answer
    since = int(oldest) / 1_000_000 if oldest else None
    return HubSurvey(
        name=hub,
        there=bool(there),
        events=events,
        members=members,
        mail=mail,
        oldest=since,
        lag=None if since is None else max(0.0, int(now) / 1_000_000 - since),
        dead_letters=dead,
        worker=worker,
        seq=int(seq),
    )


def _handled(item: str) -> Handled:
    letter = read_letter(item[1:])
    return Handled(
        position=letter.position, client_id=letter.client_id, body=letter.body, failed=item[0] == "!"
    )
