"""The sender: this process's ordered way out to the relays that hold the clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from django_hub.backoff import waits
from django_hub.batching import Batcher
from django_hub.exceptions import Unavailable
from django_hub.layers.base import ChannelFull, Layer, Message, Target
from django_hub.names import group_name
from django_hub.parcels import Entry, pack

logger = logging.getLogger(__name__)

# Bounds of one parcel.
_ENTRIES = 256
_BYTES = 256 * 1024

Sent: TypeAlias = "asyncio.Future[Exception | None]"


@dataclass(frozen=True, slots=True)
class _Addressed:
    target: Target
    entry: Entry


class Sender:
    """Hands entries to the layer, in an order that each client can't tell from that of the calls.

    What waits goes together: entries for one target are one parcel. ``room`` is awaited before each layer
    call; it lets a sender wait for the clients' fan-out in its own process. While the broker can't be
    reached all wait, for ``patience`` seconds at most; then those who sent get `Unavailable`.
    """

    def __init__(self, layer: Layer, room: Callable[[], Awaitable[None]], patience: float = 30.0) -> None:
        self._layer = layer
        self._patience = patience
        self._room = room
        self._waiting: Batcher[_Addressed, Exception | None] = Batcher(self._flush)

    def broadcast(self, entry: Entry) -> Sent:
        """To all relays with clients in the hub. The future brings what went wrong, or None, when the layer
        has it."""
        return self._waiting.put(_Addressed(Target(group_name(entry.hub), is_group=True), entry))

    def direct(self, process: str, entry: Entry) -> Sent:
        """To connections of one relay, that of ``process``; otherwise as `broadcast`."""
        return self._waiting.put(_Addressed(Target(process), entry))

    async def idle(self) -> None:
        await self._waiting.idle()

    async def _flush(self, items: Sequence[_Addressed]) -> Sequence[Exception | None]:
        try:
            routes = await self._routes({item.target for item in items if item.target.is_group})
        except Unavailable as error:
            return [error] * len(items)
        routed = [
            _Addressed(target, item.entry)
            for item in items
            for target in routes.get(item.target, (item.target,))
        ]
        failures: dict[Target, Exception] = {}
        for stage in _stages(routed):
            parts = {target: list(_parts(entries)) for target, entries in stage.items()}
            # One of each target at a time: they must not overtake each other.
            for number in range(max(map(len, parts.values()))):
                await self._room()
                failures |= await self._deliver(
                    {
                        target: mine[number]
                        for target, mine in parts.items()
                        if number < len(mine) and target not in failures
                    }
                )
        if not failures:
            return [None] * len(items)
        return [
            next((failures[to] for to in routes.get(item.target, (item.target,)) if to in failures), None)
            for item in items
        ]

    async def _routes(self, groups: Collection[Target]) -> Mapping[Target, Sequence[Target]]:
        """The channels of groups, where the layer can tell them."""
        if not groups:
            return {}
        patience = _Patience(self._patience)
        while True:
            try:
                routes = await self._layer.routes([group.name for group in groups])
            except Unavailable as error:
                logger.warning("Broadcasts to %d hubs wait: %s", len(groups), error)
                if not await patience.lasts():
                    raise
            else:
                break
        return {
            group: [Target(channel) for channel in routes[group.name]]
            for group in groups
            if group.name in routes
        }

    async def _deliver(self, parts: Mapping[Target, list[Entry]]) -> dict[Target, Exception]:
        """Those that can't be sent to, with why."""
        # Often the same for all relays: then it is one message for the layer, too.
        packed: dict[tuple[int, ...], Message] = {}
        waiting: dict[Target, Message] = {}
        for target, part in parts.items():
            key = tuple(map(id, part))
            waiting[target] = packed.get(key) or packed.setdefault(key, pack(part))
        patience = _Patience(self._patience)
        failures: dict[Target, Exception] = {}
        while True:
            failed = await self._layer.deliver(waiting)
            late = {target: error for target, error in failed.items() if isinstance(error, Unavailable)}
            for target, error in failed.items():
                if isinstance(error, ChannelFull):
                    logger.warning("%s stays full: %d frames dropped", target.name, len(parts[target]))
                elif target not in late:
                    failures[target] = error
            if not late:
                return failures
            frames = sum(len(parts[target]) for target in late)
            logger.warning("%d frames wait: %s", frames, next(iter(late.values())))
            if not await patience.lasts():
                return failures | late
            waiting = {target: waiting[target] for target in late}


class _Patience:
    """Waits between tries, for so many seconds in all."""

    def __init__(self, seconds: float) -> None:
        self._clock = asyncio.get_running_loop().time
        self._over = self._clock() + seconds
        self._pauses = waits()

    async def lasts(self) -> bool:
        """False at once when it is over; True after a pause."""
        if self._clock() > self._over:
            return False
        await asyncio.sleep(next(self._pauses))
        return True


def _stages(items: Sequence[_Addressed]) -> list[dict[Target, list[Entry]]]:
    """Group entries by target, without changing the order that a client of any hub can see.

    Where a group's channels are not known, a client hears its hub's group and its relay's channel, and the
    two may not overtake each other. So a hub's entries go to a later stage whenever they change between
    the two; stages are sent one by one.
    """
    stages: list[dict[Target, list[Entry]]] = []
    last: dict[str, tuple[int, bool]] = {}
    for item in items:
        hub, is_group = item.entry.hub, item.target.is_group
        stage, was_group = last.get(hub, (0, is_group))
        if was_group != is_group:
            stage += 1
        last[hub] = (stage, is_group)
        while len(stages) <= stage:
            stages.append({})
        stages[stage].setdefault(item.target, []).append(item.entry)
    return stages


def _parts(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    part: list[Entry] = []
    size = 0
    for entry in entries:
        if part and (len(part) >= _ENTRIES or size + entry.size > _BYTES):
            yield part
            part, size = [], 0
        part.append(entry)
        size += entry.size
    yield part
