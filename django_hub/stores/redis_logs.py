"""The logs of the Redis store: numbered items of hubs, and of members."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from redis.asyncio.client import Pipeline

from django_hub.exceptions import Damaged
from django_hub.limits import Limits
from django_hub.logs import get_logger
from django_hub.stores.ops import History, Number, Publication
from django_hub.stores.scripts import Scripts

logger = get_logger(__name__)

# Adds a call of a hub's script to a pipeline: pipeline, script, hub, arguments.
Call: TypeAlias = Callable[..., None]


class RedisLogs:
    """See `Store.publish`. One script a hub, and one round trip for all hubs."""

    def __init__(self, scripts: Scripts, limits: Limits, call: Call) -> None:
        self._scripts = scripts
        self._call = call
        milliseconds = (limits.history_ttl, limits.process_lease)
        self._bounds = limits.history_size, *(int(seconds * 1000) for seconds in milliseconds)

    async def publish(self, publications: Sequence[Publication]) -> list[Number | Damaged | None]:
        if not publications:
            return []
        by_hub: dict[str, list[int]] = {}
        for place, publication in enumerate(publications):
            by_hub.setdefault(publication.hub, []).append(place)

        def fill(pipeline: Pipeline) -> None:
            for hub, places in by_hub.items():
                fields = [field for place in places for field in _fields(publications[place])]
                self._ask(pipeline, "publish", hub, *fields)

        numbers: list[Number | Damaged | None] = [None] * len(publications)
        for places, answer in zip(by_hub.values(), await self._scripts.run_each(fill), strict=True):
            if isinstance(answer, Damaged):
                for place in places:
                    numbers[place] = answer
                continue
            epoch, seqs, processes = answer
            for place, seq, process in zip(places, seqs, processes, strict=True):
                numbers[place] = Number(epoch, seq, process) if seq else None
        return numbers

    async def history(self, hub: str, client_id: str, after: int) -> History:
        """``client_id`` ``""``: of the hub."""
        ((epoch, seq, kept),) = await self._scripts.run(
            lambda pipeline: self._ask(pipeline, "history", hub, client_id, after)
        )
        first = seq - len(kept) + 1
        items = tuple((first + place, text.partition("\0")[2]) for place, text in enumerate(kept))
        return History(epoch, seq, items)

    async def positions(self, hubs: Collection[str]) -> dict[str, Number]:
        answers = await self._of_each("position", dict.fromkeys(hubs, ()))
        return {hub: Number(epoch, seq, told=int(told)) for hub, (epoch, seq, told) in answers.items()}

    async def told(self, since: Mapping[str, int]) -> dict[str, dict[str, int]]:
        answers = await self._of_each("told", {hub: (told,) for hub, told in since.items()})
        return {hub: dict(zip(flat[::2], flat[1::2], strict=True)) for hub, flat in answers.items()}

    async def _of_each(self, script: str, args: Mapping[str, tuple[int, ...]]) -> dict[str, list[Any]]:
        """What a script says of each hub, in one round trip; of those that are damaged, or of which it has
        nothing to say, nothing."""
        if not args:
            return {}

        def fill(pipeline: Pipeline) -> None:
            for hub, more in args.items():
                self._ask(pipeline, script, hub, *more)

        found: dict[str, list[Any]] = {}
        for hub, answer in zip(args, await self._scripts.run_each(fill), strict=True):
            if isinstance(answer, Damaged):
                logger.error("Hub %s is left alone. %s", hub, answer)
            elif answer:
                found[hub] = answer
        return found

    def _ask(self, pipeline: Pipeline, script: str, hub: str, *args: str | int) -> None:
        self._call(pipeline, script, hub, secrets.token_hex(8), *self._bounds, *args)


def _fields(publication: Publication) -> tuple[str | int, ...]:
    return publication.client_id, publication.id, int(publication.again), publication.item
