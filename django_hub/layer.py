"""The few calls into Channels' layer. "Group" and "channel" are its words, and stay here and in `names`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
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
        """Raises `Unavailable`. What is no message at all is dropped: others may send to our channels."""
        while True:
            with _told():
                message = await self.layer.receive(channel)
            if isinstance(message, dict):
                return message
            logger.warning("What came on %s is no message and was dropped: %.200r", channel, message)

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
    """channels_redis' core layer, which drops what is sent to a group where a channel of it is full.

    It says so to nobody (2 servers and 2 workers on 2 cores lost 40,866 of 133,500 broadcasts to it). So
    the group's channels are read, and each is sent to by itself, which tells when it is full.

    Relied on, as of channels_redis 4.3.0: ``_group_key(group)`` names the sorted set of a group's channels,
    ``consistent_hash`` and ``connection`` lead to its server.
    """

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """As `send_when_free`, to each channel of the group. Raises `Unavailable`."""
        key = self.layer._group_key(group)  # noqa: SLF001 (there is no public way)
        connection = self.layer.connection(self.layer.consistent_hash(group))
        with _told():
            oldest = time.time() - self.group_expiry
            names = await connection.zrangebyscore(key, oldest, "+inf")
        channels = [name.decode() for name in names]
        taken = await asyncio.gather(*(self.send_when_free(channel, message) for channel in channels))
        for channel, ok in zip(channels, taken, strict=True):
            if not ok:
                logger.warning("%s stays full: a broadcast to %s is dropped there", channel, group)

    @staticmethod
    def fits(layer: Any) -> bool:
        """Is that such a layer, with all that is relied on?"""
        needed = ("_group_key", "consistent_hash", "connection")
        return type(layer).__module__ == "channels_redis.core" and all(
            hasattr(layer, name) for name in needed
        )


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
        elif CoreLayer.fits(backend):
            layer = CoreLayer(backend)
        else:
            layer = Layer(backend)
        _layers[backend] = layer
    return layer
