"""A channel layer that fails as brokers and networks do, in the same way each time.

    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "django_hub.testing.ChaosLayer",
            "CONFIG": {"layer": {"BACKEND": "channels_redis.core…", "CONFIG": …}, "drop": 0.1, "seed": 7},
        }
    }

Any Channels project can use it; of hubs it knows nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

from channels.exceptions import ChannelFull
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

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
    ``group_send`` does. To be used from one event loop.

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

    def __getattr__(self, name: str) -> Any:
        if name == "inner":  # not made yet: a copy of one, or one that was refused
            raise AttributeError(name)
        return getattr(self.inner, name)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """As the inner layer's; a message that is on time raises what that raises, a late one nothing."""
        await self._meet("send", channel, message)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """As the inner layer's."""
        groups = getattr(self.inner, "groups", None)
        if not isinstance(groups, dict):
            await self._meet("group_send", group, message)
            return
        for channel in list(groups.get(group, ())):
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

    async def flush(self) -> None:
        """Forget all, what is late included (extension ``flush`` of the inner layer)."""
        for late in list(self._late):
            late.forget()
        await self.inner.flush()

    async def _meet(self, how: str, to: str, message: dict[str, Any]) -> None:
        dropped, doubled = self._drawn("drop"), self._drawn("double")
        before = self._held.pop(to, [])
        if not dropped:
            for _ in range(2 if doubled else 1):
                # Both are drawn each time: then a rate that is changed moves no other fault.
                delayed, reordered = self._drawn("delay"), self._drawn("reorder")
                seconds = self.late * self._chance.random()
                if reordered:
                    self._held.setdefault(to, []).append(_Late(self, how, to, message, self.late))
                elif delayed:
                    _Late(self, how, to, message, seconds)
                else:
                    await getattr(self.inner, how)(to, message)
        for late in before:
            await late.come()

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
        self._coming: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)
        layer._late[self] = None  # noqa: SLF001 (one thing in two classes)

    def _begin(self) -> None:
        self._coming = asyncio.create_task(self.come())

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
