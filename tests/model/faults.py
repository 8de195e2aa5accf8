"""What is bad between the parts: the layer, the way to the store, and the memory store's memory."""

from __future__ import annotations

import asyncio
import copy
import json
import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from django_hub.bells import WAKE
from django_hub.entries import from_item
from django_hub.exceptions import Unavailable
from django_hub.limits import Limits
from django_hub.stores.memory import MemoryStore

HUB = "lobby"
# Less than what may be said while somebody is away.
HISTORY = 6


class Life:
    """Of a process: what is asked of a dead one, or was answered to it, comes to nothing."""

    dead = False

    async def goes_on(self) -> None:
        if self.dead:
            await asyncio.get_running_loop().create_future()


class BadLayer:
    """What is sent to a channel is lost, comes twice, or late and so behind what was sent after it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._channels: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._groups: dict[str, set[str]] = defaultdict(set)
        #: Called with the hubs of a wake: one of them, as of workers.
        self.workers: list[Callable[[list[str]], None]] = []

    async def new_channel(self, prefix: str = "relay.") -> str:
        name = f"{prefix}{len(self._channels)}"
        self._channels[name] = asyncio.Queue()
        return name

    async def receive(self, channel: str) -> dict[str, Any]:
        return await self._channels[channel].get()

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self._chance.choice((0, 1, 1, 1, 2))):
            late = self._chance.choice((0.0, 0.0, 0.01, 0.3)) * self._chance.random()
            if (queue := self._channels.get(channel)) is not None:
                # A repeat that its number does not give away, at times.
                copied = {**message, "number": ""} if self._chance.random() < 0.5 else message
                loop.call_later(late, queue.put_nowait, copied)
            elif message["type"] == WAKE and self.workers:
                loop.call_later(late, self._chance.choice(self.workers), message["hubs"])

    async def group_add(self, group: str, channel: str) -> None:
        self._groups[group].add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._groups[group].discard(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for channel in sorted(self._groups[group]):
            await self.send(channel, message)


class Port:
    """One process' way to a layer."""

    def __init__(self, layer: BadLayer, life: Life) -> None:
        self._layer = layer
        self._life = life

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._layer, name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            await self._life.goes_on()
            answer = await method(*args, **kwargs)
            await self._life.goes_on()
            return answer

        return ask


class Notes:
    """What was ever numbered: by epoch and number, as its last wrote it."""

    def __init__(self) -> None:
        self.numbered: dict[tuple[str, int], Any] = {}
        # By client and number: a message to a client that was replaced is in its successor's log.
        self.session_meant: dict[tuple[str, int], str] = {}

    def take(self, publications: Any, numbers: Any) -> None:
        for publication, number in zip(publications, numbers, strict=True):
            if number is None:
                continue
            entry = from_item(HUB, number.epoch, number.seq, publication.item)
            if publication.client_id:
                self.session_meant[publication.client_id, number.seq] = entry.ids[0]
            else:
                self.numbered[number.epoch, number.seq] = json.loads(entry.frame)


class Reach:
    """One process' way to the store: calls take their time, fail, or lose their replies."""

    FAULTY = frozenset(
        {"apply", "history", "sent", "positions", "told", "publish", "members", "member", "claim", "commit"}
    )

    def __init__(self, store: Any, chance: random.Random, notes: Notes, life: Life) -> None:
        self._store = store
        self._chance = chance
        self._notes = notes
        self._life = life
        self.limits = store.limits

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            await self._cross(name)
            answer = await method(*args, **kwargs)
            if name == "publish":
                self._notes.take(*args, answer)
            await self._cross(name)
            return answer

        return ask

    async def _cross(self, name: str) -> None:
        await self._life.goes_on()
        if name in self.FAULTY:
            await asyncio.sleep(0.02 * self._chance.random())
            await self._life.goes_on()
            if self._chance.random() < 0.04:
                raise Unavailable("the line broke")


class Memory(MemoryStore):
    """All data may get lost, or be put back to what it was."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(Limits(history_size=HISTORY), lambda: 1_000_000 + loop.time())
        self._eras = 0
        self._saved = self._data()

    async def epoch(self) -> str:
        return str(self._eras)

    async def empty(self) -> None:
        eras = self._eras + 1
        saved = self._saved
        MemoryStore.__init__(self, self.limits, self._clock)
        self._eras, self._saved = eras, saved

    async def save(self) -> None:
        self._saved = self._data()

    async def put_back(self) -> None:
        vars(self).update(copy.deepcopy(self._saved))

    def _data(self) -> dict[str, Any]:
        # Visits are of the limits, and hold on to the store.
        kept = ("limits", "_clock", "_lock", "_saved", "_visits")
        return copy.deepcopy({name: value for name, value in vars(self).items() if name not in kept})
