"""A channel layer that fails as brokers and networks do, in the same way each time.

    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "django_hub.testing.ChaosLayer",
            "CONFIG": {"layer": {"BACKEND": "channels_redis.core…", "CONFIG": …}, "drop": 0.1, "seed": 7},
        }
    }

Any Channels project can use it, also one without django_hub in INSTALLED_APPS; of hubs it knows nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_hub.logs import get_logger

logger = get_logger(__name__)

_IN_MEMORY = "channels.layers.InMemoryChannelLayer"
_RATES = ("drop", "double", "delay", "reorder")


class ChaosLayer:
    """Wraps a layer: what is sent through it is dropped, doubled, late or out of order.

    ``layer``: the layer inside, as CHANNEL_LAYERS has it (``BACKEND``, ``CONFIG``); by default the
    in-memory one. ``drop``, ``double``, ``delay``, ``reorder``: how often, from 0 to 1, a message meets
    that; a doubled one's copies are late or out of order each by itself. A late one comes up to ``late``
    seconds later; one that is out of order comes behind the next one to its channel, or after ``late``
    seconds where none follows. So none but a dropped message is lost.

    All is drawn from ``seed``: a program that sends the same messages in the same order meets the same
    faults. With the in-memory layer each channel of a group meets its own, with any other layer the whole
    ``group_send`` does. Several event loops may use it, as with `async_to_sync`: what is late on a loop
    that has ended comes with the next message that is sent. A message that is lost later than its `send`,
    because its channel was full or its broker away, counts as dropped.

    ``receive``, groups and whatever else the inner layer has, its extensions included, are the inner
    layer's. Raises `ImproperlyConfigured` for a rate that is none, or a layer that is none.
    """

    def __init__(
        self,
        layer: Mapping[str, Any] | None = None,
        *,
        seed: int = 0,
        drop: float = 0.0,
        double: float = 0.0,
        delay: float = 0.0,
        reorder: float = 0.0,
        late: float = 0.05,
    ) -> None:
        rates = (drop, double, delay, reorder)
        for name, rate in zip(_RATES, rates, strict=True):
            if type(rate) not in (int, float) or not 0 <= rate <= 1:
                raise ImproperlyConfigured(f"ChaosLayer: {name} is a share from 0 to 1; got {rate!r:.80}.")
        self.drop, self.double, self.delay, self.reorder = rates
        self.late = late
        self.inner: Any = _made({"BACKEND": _IN_MEMORY} if layer is None else layer)
        #: How many messages met what, by the names of the rates.
        self.faults = dict.fromkeys(_RATES, 0)
        self._chance = random.Random(seed)  # noqa: S311
        self._held: dict[str, list[_Late]] = {}
        self._late: dict[_Late, None] = {}
        self._coming: set[asyncio.Task[None]] = set()

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not made yet: a copy of one, or one that was refused
            raise AttributeError(name)
        return getattr(self.inner, name)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """As the inner layer's; a message that is on time raises what that raises, a late one nothing."""
        await self._meet("send", channel, message)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """As the inner layer's."""
        # Another layer may have such a dict, too: of the members in this process alone.
        if not isinstance(self.inner, InMemoryChannelLayer):
            await self._meet("group_send", group, message)
            return
        for channel in list(self.inner.groups.get(group, ())):
            try:
                await self._meet("send", channel, message)
            except ChannelFull:
                continue  # as the in-memory layer does

    async def calm(self) -> None:
        """Nothing fails from now on, and what is late or held back is delivered."""
        self.drop = self.double = self.delay = self.reorder = 0.0
        await self.settle()

    async def settle(self) -> None:
        """Deliver now all that is late or held back."""
        while self._late:
            await next(iter(self._late)).come()
        here = asyncio.get_running_loop()
        if coming := [task for task in self._coming if task.get_loop() is here]:
            await asyncio.wait(coming)

    async def flush(self) -> None:
        """Forget all, what is late included (extension ``flush`` of the inner layer)."""
        for late in list(self._late):
            late.forget()
        await self.inner.flush()

    async def _meet(self, how: str, to: str, message: dict[str, Any]) -> None:
        for late in list(self._late):
            if late.loop.is_closed():
                await late.come()
        dropped, doubled = self._drawn("drop"), self._drawn("double")
        before = self._held.pop(to, [])
        if not dropped:
            for copy in range(2 if doubled else 1):
                # Both are drawn each time: then a rate that is changed moves no other fault.
                delayed, reordered = self._drawn("delay"), self._drawn("reorder")
                seconds = self.late * self._chance.random()
                if reordered:
                    self._held.setdefault(to, []).append(_Late(self, how, to, message, self.late))
                elif delayed:
                    _Late(self, how, to, message, seconds)
                else:
                    await self._pass_on(how, to, message, again=copy > 0)
        for late in before:
            await late.come()

    async def _pass_on(self, how: str, to: str, message: dict[str, Any], *, again: bool) -> None:
        try:
            await getattr(self.inner, how)(to, message)
        except ChannelFull:
            # Whoever sent it once is not told that it did not fit in twice.
            if not again:
                raise
            self.faults["drop"] += 1

    def _drawn(self, name: str) -> bool:
        met: bool = self._chance.random() < getattr(self, name)
        self.faults[name] += met
        return met


class _Late:
    """A message on its way."""

    def __init__(
        self, layer: ChaosLayer, how: str, to: str, message: dict[str, Any], seconds: float
    ) -> None:
        self._layer = layer
        self._call = (how, to, dict(message))
        self.loop = asyncio.get_running_loop()
        self._timer = self.loop.call_later(seconds, self._begin)
        layer._late[self] = None  # noqa: SLF001 (one thing in two classes)

    def _begin(self) -> None:
        coming = self._layer._coming  # noqa: SLF001 (a loop holds no task by itself)
        task = self.loop.create_task(self.come())
        coming.add(task)
        task.add_done_callback(coming.discard)

    def forget(self) -> None:
        self._timer.cancel()
        self._layer._late.pop(self, None)  # noqa: SLF001

    async def come(self) -> None:
        """Once, whoever calls first."""
        if self not in self._layer._late:  # noqa: SLF001
            return
        self.forget()
        how, to, message = self._call
        try:
            await getattr(self._layer.inner, how)(to, message)
        except ChannelFull:
            self._layer.faults["drop"] += 1
        except Exception as error:  # noqa: BLE001 (a layer raises whatever its broker does; nobody waits)
            self._layer.faults["drop"] += 1
            logger.warning("A late message for %s is lost: %s: %s", to, type(error).__name__, error)


def _made(config: object) -> Any:
    if not isinstance(config, Mapping) or not isinstance(config.get("BACKEND"), str):
        raise ImproperlyConfigured(
            'ChaosLayer: layer is as in CHANNEL_LAYERS, {"BACKEND": "...", "CONFIG": {...}}; '
            f"got {config!r:.120}."
        )
    try:
        backend = import_string(config["BACKEND"])
    except ImportError as error:
        raise ImproperlyConfigured(f"ChaosLayer: the layer inside can't be imported: {error}") from error
    return backend(**config.get("CONFIG", {}))
