"""The sender: this process's ordered way out to the relays that hold the clients."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from django_hub.backoff import waits
from django_hub.batching import Batcher
from django_hub.layer import ChannelFull, Layer
from django_hub.names import group_name
from django_hub.parcels import Entry, pack

logger = logging.getLogger(__name__)

# Bounds of one parcel, and of the parcels under way at once: an in-memory channel holds 100 of them and
# drops what comes then.
_ENTRIES = 256
_BYTES = 256 * 1024
_AT_ONCE = 32
_TRIES_WHEN_FULL = 4


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
    call; it lets a sender wait for the clients' fan-out in its own process.
    """

    def __init__(self, layer: Layer, room: Callable[[], Awaitable[None]]) -> None:
        self._layer = layer
        self._room = room
        self._waiting: Batcher[_Addressed, Exception | None] = Batcher(self._flush)

    async def broadcast(self, entry: Entry) -> None:
        """To all relays with clients in the hub. Returns when the layer has it; raises what it raised."""
        target = _Target(group_name(entry.hub), is_group=True)
        _raise(await self._waiting.put(_Addressed(target, entry)))

    async def direct(self, process: str, entries: Sequence[Entry]) -> None:
        """To connections of one relay, that of ``process``; otherwise as `broadcast`."""
        target = _Target(process, is_group=False)
        futures = [self._waiting.put(_Addressed(target, entry)) for entry in entries]
        for future in futures:
            _raise(await future)

    def post(self, process: str, entry: Entry) -> None:
        """As `direct`, without waiting; a failure is logged."""
        self._waiting.put(_Addressed(_Target(process, is_group=False), entry)).add_done_callback(_log)

    async def idle(self) -> None:
        await self._waiting.idle()

    async def _flush(self, items: Sequence[_Addressed]) -> Sequence[Exception | None]:
        failures: dict[_Target, Exception] = {}
        for stage in _stages(items):
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
        return [failures.get(item.target) for item in items]

    async def _send(self, target: _Target, parts: Sequence[list[Entry]]) -> None:
        for part in parts:
            message = pack(part)
            if target.is_group:
                await self._layer.group_send(target.name, message)
                continue
            for left, pause in zip(range(_TRIES_WHEN_FULL, -1, -1), waits(), strict=False):
                try:
                    await self._layer.send(target.name, message)
                    break
                except ChannelFull:
                    if not left:
                        # Its relay is dead or hangs. Waiting longer would hold up everybody else.
                        logger.warning("%s is full: %d frames dropped", target.name, len(part))
                    else:
                        await asyncio.sleep(pause)


def _stages(items: Sequence[_Addressed]) -> list[dict[_Target, list[Entry]]]:
    """Group entries by target, without changing the order that a client of any hub can see.

    A client hears its hub's group and its relay's channel, and the two may not overtake each other. So a
    hub's entries go to a later stage whenever they change between the two; stages are sent one by one.
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


def _raise(failure: Exception | None) -> None:
    if failure is not None:
        raise failure


def _log(future: asyncio.Future[Exception | None]) -> None:
    if not future.cancelled() and (future.exception() or future.result()):
        logger.warning("A frame for one client was not sent: %s", future.exception() or future.result())
