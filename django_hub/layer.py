"""The few calls into Channels' layer. "Group" and "channel" are its words, and stay here and in `names`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer, channel_layers
from django.core.exceptions import ImproperlyConfigured

from django_hub.conf import get_settings

T = TypeVar("T")

__all__ = ["ChannelFull", "Layer", "get_layer"]

# The loop that receives on each in-memory layer: the layer's queues wake nobody on another loop.
_owners: dict[int, asyncio.AbstractEventLoop] = {}


class Layer:
    """A channel layer, safe to send to from any loop and thread."""

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        self.in_memory = isinstance(layer, InMemoryChannelLayer)

    @property
    def group_expiry(self) -> float:
        """Seconds after which a layer forgets a group's channel that was not added again."""
        return float(getattr(self._layer, "group_expiry", 86400))

    async def new_channel(self) -> str:
        channel: str = await self._layer.new_channel()
        return channel

    async def receive(self, channel: str) -> dict[str, Any]:
        if self.in_memory:
            _owners[id(self._layer)] = asyncio.get_running_loop()
        message: dict[str, Any] = await self._layer.receive(channel)
        return message

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Raises `ChannelFull` where the channel is at its capacity."""
        await self._at_owner(lambda: self._layer.send(channel, message))

    async def group_add(self, group: str, channel: str) -> None:
        await self._layer.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._layer.group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._at_owner(lambda: self._layer.group_send(group, message))

    async def _at_owner(self, call: Callable[[], Awaitable[T]]) -> T:
        """In-memory queues are not thread-safe: hand the call to the loop that receives from them."""
        owner = _owners.get(id(self._layer)) if self.in_memory else None
        if owner is None or owner is asyncio.get_running_loop() or not owner.is_running():
            return await call()

        async def there() -> T:
            return await call()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), owner))


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
    return Layer(channel_layers[alias])
