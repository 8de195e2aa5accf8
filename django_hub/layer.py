"""The few calls into Channels' layer. "Group" and "channel" are its words, and stay here and in `names`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import weakref
from collections.abc import Iterator
from typing import Any

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer, channel_layers
from django.core.exceptions import ImproperlyConfigured

from django_hub.backoff import waits
from django_hub.conf import get_settings
from django_hub.exceptions import Unavailable
from django_hub.exchange import Exchange
from django_hub.queues import Queues

logger = logging.getLogger(__name__)

# A channel that is full for so long, in seconds, is given up.
_PATIENCE = 10.0

__all__ = ["ChannelFull", "Layer", "get_layer"]


class Layer:
    """A channel layer as hubs use it.

    A relay has a channel of its own, in the groups of its hubs; a hub's worker listens on a channel that
    its project names. ``in_memory``: the layer reaches its own process only.
    """

    in_memory = False

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self._stuck: set[str] = set()

    @property
    def group_expiry(self) -> float:
        """Seconds after which a layer forgets a group's channel that was not added again."""
        return float(getattr(self.layer, "group_expiry", 86400))

    async def new_channel(self) -> str:
        """A channel for the relay of the running loop. Raises `Unavailable`."""
        with _told():
            channel: str = await self.layer.new_channel()
        return channel

    def drop_channel(self, channel: str) -> None:
        """The relay's channel is not received on any more."""

    async def receive(self, channel: str) -> dict[str, Any]:
        """Raises `Unavailable`."""
        with _told():
            message: dict[str, Any] = await self.layer.receive(channel)
        return message

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Raises `ChannelFull` where the channel is at its capacity, and `Unavailable`."""
        with _told():
            await self.layer.send(channel, message)

    async def send_when_free(self, channel: str, message: dict[str, Any]) -> bool:
        """As `send`, waiting while the channel is full. False: it stayed full, and the message is dropped.

        One that stayed full for `_PATIENCE` seconds belongs to a process that is dead or hangs: nobody
        waits for it again until it takes something.
        """
        clock = asyncio.get_running_loop().time
        gives_up = clock() + (0 if channel in self._stuck else _PATIENCE)
        pauses = waits(first=0.01, most=0.2)
        while True:
            try:
                await self.send(channel, message)
            except ChannelFull:
                if clock() >= gives_up:
                    self._stuck.add(channel)
                    return False
                await asyncio.sleep(next(pauses))
            else:
                self._stuck.discard(channel)
                return True

    async def group_add(self, group: str, channel: str) -> None:
        """Raises `Unavailable`."""
        with _told():
            await self.layer.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Raises `Unavailable`."""
        with _told():
            await self.layer.group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Raises `Unavailable`."""
        with _told():
            await self.layer.group_send(group, message)


class CoreLayer(Layer):
    """channels_redis' core layer, with `Queues` in place of its own way to send."""

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._queues = Queues(layer)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if "!" not in channel:
            return await super().send(channel, message)
        with _told():
            taken, _ = await self._queues.put([channel], message, {channel})
        if not taken:
            raise ChannelFull
        return None

    async def group_add(self, group: str, channel: str) -> None:
        with _told():
            await self._queues.group_add(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """As `send_when_free`, to all channels of the group at once. Raises `Unavailable`."""
        clock = asyncio.get_running_loop().time
        gives_up = clock() + _PATIENCE
        pauses = waits(first=0.01, most=0.2)
        while True:
            with _told():
                channels = await self._queues.of_group(group)
                patient = set(channels) - self._stuck if clock() < gives_up else set[str]()
                taken, full = await self._queues.put(channels, message, patient)
            if taken:
                break
            await asyncio.sleep(next(pauses))
        self._stuck = self._stuck.difference(channels) | full
        for channel in full:
            logger.warning("%s stays full: a broadcast to %s is dropped there", channel, group)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Make of a lost broker what it is: not the caller's fault, and not for ever."""
    try:
        yield
    except _broker_errors() as error:
        raise Unavailable(f"The channel layer's broker: {type(error).__name__}: {error}") from error


@functools.cache
def _broker_errors() -> tuple[type[Exception], ...]:
    try:
        from redis.exceptions import RedisError  # an extra: only there with Redis
    except ImportError:
        return (OSError,)
    return (OSError, RedisError)


class InMemoryLayer(Layer):
    """Relays are reached through an `Exchange`, everybody else through the in-memory layer.

    That layer's queues wake nobody on another loop: so a message is handed to the loop that receives.
    """

    in_memory = True

    def __init__(self, layer: InMemoryChannelLayer) -> None:
        super().__init__(layer)
        self._exchange = Exchange()
        self._receiving: weakref.WeakValueDictionary[str, asyncio.AbstractEventLoop] = (
            weakref.WeakValueDictionary()
        )

    async def new_channel(self) -> str:
        return self._exchange.new_channel()

    def drop_channel(self, channel: str) -> None:
        self._exchange.drop_channel(channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        if self._exchange.knows(channel):
            return await self._exchange.receive(channel)
        self._receiving[channel] = asyncio.get_running_loop()
        return await super().receive(channel)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if self._exchange.knows(channel):
            return await self._exchange.send(channel, message)
        there = self._receiving.get(channel)
        if there is None or there is asyncio.get_running_loop() or not there.is_running():
            return await super().send(channel, message)
        call = asyncio.run_coroutine_threadsafe(super().send(channel, message), there)
        return await asyncio.wrap_future(call)

    async def group_add(self, group: str, channel: str) -> None:
        self._exchange.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._exchange.group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._exchange.group_send(group, message)


# One for each of Channels' own objects: an in-memory layer's exchange is the whole process's.
_layers: weakref.WeakKeyDictionary[Any, Layer] = weakref.WeakKeyDictionary()


def get_layer() -> Layer:
    """The layer of DJANGO_HUB["LAYER"]. Raises `ImproperlyConfigured` if it isn't configured.

    Not Channels' `get_channel_layer()`: it answers None for any KeyError, one inside the backend included.
    """
    alias = get_settings().LAYER
    configured = channel_layers.configs
    if alias not in configured:
        raise ImproperlyConfigured(
            f"django_hub needs the channel layer {alias!r}, and CHANNEL_LAYERS has "
            f"{', '.join(map(repr, configured)) or 'none'}. To begin with, in settings.py:\n"
            "    CHANNEL_LAYERS = "
            '{"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}'
        )
    backend = channel_layers[alias]
    layer = _layers.get(backend)
    if layer is None:
        if isinstance(backend, InMemoryChannelLayer):
            layer = InMemoryLayer(backend)
        elif Queues.fit(backend):
            layer = CoreLayer(backend)
        else:
            layer = Layer(backend)
        _layers[backend] = layer
    return layer
