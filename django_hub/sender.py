"""The sender: this process's ordered way out to the relays that hold the clients."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from django_hub.backoff import waits
from django_hub.batching import Batcher
from django_hub.entries import Entry, to_item
from django_hub.exceptions import Damaged, Unavailable
from django_hub.layers.base import ChannelFull, Layer, Message, Target
from django_hub.logs import get_logger
from django_hub.messages import Close
from django_hub.names import group_name, session_of
from django_hub.parcels import pack
from django_hub.stores.base import Store
from django_hub.stores.memory import MemoryStore
from django_hub.stores.ops import Number, Publication

logger = get_logger(__name__)

# Bounds of one parcel.
_ENTRIES = 256
_BYTES = 256 * 1024

Sent: TypeAlias = "asyncio.Future[Exception | None]"


@dataclass(frozen=True, slots=True)
class _Addressed:
    """``publication``: what gets it its number, where it is to have one and has none yet."""

    targets: tuple[Target, ...]
    entry: Entry
    publication: Publication | None = None


class Sender:
    """Gets entries their numbers from the store, and hands them to the layer, in an order that each client
    can't tell from that of the calls.

    Within one process they are there when `broadcast` or `direct` returns. Else what waits goes together:
    entries for one target are one parcel. ``room`` is awaited before each layer call; it lets a sender wait
    for the clients' fan-out in its own process. While the broker can't be reached all wait, ``patience``
    seconds at most; then those who sent get `Unavailable`: what has its number by then is in the log all
    the same, and reaches clients from there.
    """

    def __init__(
        self, layer: Layer, store: Store, room: Callable[[], Awaitable[None]], patience: float = 30.0
    ) -> None:
        self._layer = layer
        self._store = store
        # Both are of this process: nothing has to be waited for.
        self._numbers_at_once = layer.in_memory and isinstance(store, MemoryStore)
        self._patience = patience
        self._room = room
        self._id = uuid.uuid4().hex[:16]
        self._numbers = itertools.count(1)
        self._waiting: Batcher[_Addressed, Exception | None] = Batcher(self._flush)

    def broadcast(self, entry: Entry, *, numbered: bool = True) -> Sent:
        """To all relays with clients in the hub. The future brings what went wrong, or None, when the layer
        has it. ``numbered``: it gets the next number of the hub's log, and is kept there; a Close never."""
        publication = None
        if numbered and not isinstance(entry.frame, Close):
            publication = self._publication(entry)
        return self._put(Target(group_name(entry.hub), is_group=True), entry, publication)

    def direct(self, process: str, entry: Entry, client_id: str = "") -> Sent:
        """To connections of one relay, that of ``process``; otherwise as `broadcast`.

        With ``client_id`` it is for that client, whose connection is the only one that is named, or a newer
        one of the same session; and with a session it gets a number of that client's own log.
        """
        publication = None
        if client_id and (session := session_of(entry.ids[0])):
            entry = replace(entry, ids=(session,))
            if not isinstance(entry.frame, Close):
                publication = self._publication(entry, client_id)
        return self._put(Target(process), entry, publication)

    async def idle(self) -> None:
        await self._waiting.idle()

    def _publication(self, entry: Entry, client_id: str = "") -> Publication:
        name = f"{self._id}.{next(self._numbers)}"
        return Publication(hub=entry.hub, item=to_item(entry), id=name, client_id=client_id)

    def _put(self, target: Target, entry: Entry, publication: Publication | None) -> Sent:
        # Not past what waits.
        if self._waiting.is_idle:
            if publication is not None and self._numbers_at_once:
                if (numbers := _at_once(self._store.publish([publication]))) is None:
                    publication = replace(publication, again=True)
                elif isinstance(numbers[0], Damaged):
                    return _done(numbers[0])
                else:
                    target = _where(target, numbers[0])
                    entry, publication = _numbered(entry, publication, numbers[0]), None
            if publication is None and self._layer.hand_over(target, entry):
                return _done(None)
        return self._waiting.put(_Addressed((target,), entry, publication))

    async def _flush(self, items: Sequence[_Addressed]) -> Sequence[Exception | None]:
        numbers, routed = await asyncio.gather(
            self._published([item.publication for item in items if item.publication is not None]),
            self._routed(items),
            return_exceptions=True,
        )
        if isinstance(routed, BaseException):
            return _failed(routed, len(items))
        refused: dict[int, Exception] = {}
        ready: dict[int, _Addressed] = {}
        if isinstance(numbers, BaseException):
            error = _failed(numbers, 1)[0]
            numbers = {item.publication.id: error for item in items if item.publication is not None}
        for place, item in enumerate(routed):
            publication = item.publication
            if publication is None:
                ready[place] = item
                continue
            number = numbers[publication.id]
            if isinstance(number, Exception):
                refused[place] = number
            else:
                targets = tuple(_where(target, number) for target in item.targets)
                ready[place] = _Addressed(targets, _numbered(item.entry, publication, number))
        failures: dict[Target, Exception] = {}
        for put in (put for stage in _stages([*ready.values()]) for put in _puts(stage)):
            await self._room()
            failures |= await self._deliver({to: part for to, part in put.items() if to not in failures})
        if not failures and not refused:
            return [None] * len(items)
        return [
            refused.get(place)
            or next((failures[to] for to in ready[place].targets if to in failures), None)
            for place in range(len(items))
        ]

    async def _published(self, publications: Sequence[Publication]) -> dict[str, Number | Exception | None]:
        """The number of each, by its id."""
        if not publications:
            return {}
        patience = _Patience(self._patience)
        while True:
            try:
                numbers = await self._store.publish(publications)
            except Unavailable as error:
                logger.warning("%d messages wait for their numbers: %s", len(publications), error)
                if not await patience.lasts():
                    raise
                publications = [replace(publication, again=True) for publication in publications]
            else:
                return {
                    publication.id: number
                    for publication, number in zip(publications, numbers, strict=True)
                }

    async def _routed(self, items: Sequence[_Addressed]) -> list[_Addressed]:
        """With a group's channels in its place, where the layer can tell them."""
        groups = list({target.name: None for item in items for target in item.targets if target.is_group})
        if not groups:
            return list(items)
        patience = _Patience(self._patience)
        while True:
            try:
                routes = await self._layer.routes(groups)
            except Unavailable as error:
                logger.warning("Broadcasts to %d hubs wait: %s", len(groups), error)
                if not await patience.lasts():
                    raise
            else:
                break
        return [
            replace(item, targets=tuple(map(Target, routes[to.name])))
            if (to := item.targets[0]).is_group and to.name in routes
            else item
            for item in items
        ]

    async def _deliver(self, parts: Mapping[Target, list[Entry]]) -> dict[Target, Exception]:
        """Those that can't be sent to, with why."""
        # Often the same for all relays: then it is one message for the layer, too.
        packed: dict[tuple[int, ...], Message] = {}
        waiting: dict[Target, Message] = {}
        for target, part in parts.items():
            key = tuple(map(id, part))
            if key not in packed:
                packed[key] = pack(part, f"{self._id}.{next(self._numbers)}")
            waiting[target] = packed[key]
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


def _where(target: Target, number: Number | None) -> Target:
    """Where a client is by now, as its log knows: it may have come back at another process meanwhile."""
    return Target(number.process) if number is not None and number.process else target


def _numbered(entry: Entry, publication: Publication, number: Number | None) -> Entry:
    if number is None:
        return entry  # its client is gone
    return entry.numbered("" if publication.client_id else number.epoch, number.seq)


def _done(result: Exception | None) -> Sent:
    done: Sent = asyncio.get_running_loop().create_future()
    done.set_result(result)
    return done


def _failed(error: BaseException, count: int) -> list[Exception | None]:
    if not isinstance(error, Unavailable):
        raise error
    return [error] * count


def _at_once(
    publishing: Coroutine[Any, Any, list[Number | Damaged | None]],
) -> list[Number | Damaged | None] | None:
    """The answer of a store that need not wait; None where this one does, or can't be reached."""
    try:
        publishing.send(None)
    except StopIteration as done:
        numbers: list[Number | Damaged | None] = done.value
        return numbers
    except Unavailable:
        return None
    publishing.close()
    return None


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


def _stages(items: Sequence[_Addressed]) -> list[list[_Addressed]]:
    """Sort entries into stages, without changing the order that a client of any hub can see.

    Where a group's channels are not known, a client hears its hub's group and its relay's channel, and the
    two may not overtake each other. So a hub's entries go to a later stage whenever they change between
    the two; stages are sent one by one.
    """
    stages: list[list[_Addressed]] = []
    last: dict[str, tuple[int, bool]] = {}
    for item in items:
        hub, is_group = item.entry.hub, any(target.is_group for target in item.targets)
        stage, was_group = last.get(hub, (0, is_group))
        if was_group != is_group:
            stage += 1
        last[hub] = (stage, is_group)
        while len(stages) <= stage:
            stages.append([])
        stages[stage].append(item)
    return stages


def _puts(stage: Sequence[_Addressed]) -> Iterator[dict[Target, list[Entry]]]:
    """Cut a stage into what is sent at once: to each target a part of bounded size.

    An entry is in the same put for all its targets: two senders' broadcasts are then heard in one order
    everywhere, where the layer does a put in one step.
    """
    put: dict[Target, list[Entry]] = {}
    sizes: dict[Target, int] = {}
    for item in stage:
        size = item.entry.size
        if any(
            to in put and (len(put[to]) >= _ENTRIES or sizes[to] + size > _BYTES) for to in item.targets
        ):
            yield put
            put, sizes = {}, {}
        for to in item.targets:
            put.setdefault(to, []).append(item.entry)
            sizes[to] = sizes.get(to, 0) + size
    if put:
        yield put
