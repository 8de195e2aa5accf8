"""The sender: this process's ordered way out to the relays that hold the clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

from django_hub.backoff import waits
from django_hub.batching import Batcher
from django_hub.exceptions import Unavailable
from django_hub.layers.base import Layer
from django_hub.names import group_name
from django_hub.parcels import Entry, pack

logger = logging.getLogger(__name__)

# Bounds of one parcel, and of the parcels under way at once: an in-memory channel holds 100 of them and
# drops what comes then.
_ENTRIES = 256
_BYTES = 256 * 1024
_AT_ONCE = 32


T = TypeVar("T")

Sent: TypeAlias = "asyncio.Future[Exception | None]"


@dataclass(frozen=True, slots=True)
class _Target:
    """One relay's channel, or the group of all relays with clients in a hub."""

    name: str
    is_group: bool


@dataclass(frozen=True, slots=True)
class _Addressed:
    target: _Target
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
        return self._waiting.put(_Addressed(_Target(group_name(entry.hub), is_group=True), entry))

    def direct(self, process: str, entry: Entry) -> Sent:
        """To connections of one relay, that of ``process``; otherwise as `broadcast`."""
        return self._waiting.put(_Addressed(_Target(process, is_group=False), entry))

    async def idle(self) -> None:
        await self._waiting.idle()

    async def _flush(self, items: Sequence[_Addressed]) -> Sequence[Exception | None]:
        routes = await self._routes({item.target for item in items if item.target.is_group})
        routed = [
            _Addressed(target, item.entry)
            for item in items
            for target in routes.get(item.target, (item.target,))
        ]
        failures: dict[_Target, Exception] = {}
        for stage in _stages(routed):
            parcels = [(target, part) for target, entries in stage.items() for part in _parts(entries)]
            for start in range(0, len(parcels), _AT_ONCE):
                await self._room()
                some = parcels[start : start + _AT_ONCE]
                # Parts of one target must not overtake each other.
                by_target: dict[_Target, list[list[Entry]]] = {}
                for target, part in some:
                    by_target.setdefault(target, []).append(part)
                results = await asyncio.gather(
                    *(self._send(target, mine) for target, mine in by_target.items()),
                    return_exceptions=True,
                )
                failures |= {
                    target: result
                    for target, result in zip(by_target, results, strict=True)
                    if isinstance(result, Exception)
                }
        if not failures:
            return [None] * len(items)
        return [
            next((failures[to] for to in routes.get(item.target, (item.target,)) if to in failures), None)
            for item in items
        ]

    async def _routes(self, groups: Collection[_Target]) -> Mapping[_Target, Sequence[_Target]]:
        """The channels of groups, where the layer can tell them."""
        if not groups:
            return {}
        names = [group.name for group in groups]
        routes = await self._patiently(lambda: self._layer.routes(names), "look for their relays")
        return {
            group: [_Target(channel, is_group=False) for channel in routes[group.name]]
            for group in groups
            if group.name in routes
        }

    async def _send(self, target: _Target, parts: Sequence[list[Entry]]) -> None:
        for part in parts:
            message = pack(part)
            if target.is_group:
                await self._patiently(partial(self._layer.group_send, target.name, message), "wait")
            elif not await self._patiently(
                partial(self._layer.send_when_free, target.name, message), "wait"
            ):
                logger.warning("%s stays full: %d frames dropped", target.name, len(part))

    async def _patiently(self, call: Callable[[], Awaitable[T]], what: str) -> T:
        """The layer's answer, asked for again while the broker can't be reached and there is patience."""
        clock = asyncio.get_running_loop().time
        gives_up = clock() + self._patience
        pauses = waits()
        while True:
            try:
                return await call()
            except Unavailable as error:
                if clock() > gives_up:
                    raise
                logger.warning("Frames %s: %s", what, error)
            await asyncio.sleep(next(pauses))


def _stages(items: Sequence[_Addressed]) -> list[dict[_Target, list[Entry]]]:
    """Group entries by target, without changing the order that a client of any hub can see.

    Where a group's channels are not known, a client hears its hub's group and its relay's channel, and the
    two may not overtake each other. So a hub's entries go to a later stage whenever they change between
    the two; stages are sent one by one.
    """
    stages: list[dict[_Target, list[Entry]]] = []
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
