"""The few calls into Channels' layer. "Group" and "channel" are its words, and stay here and in `names`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from channels.exceptions import ChannelFull

from django_hub.backoff import waits
from django_hub.exceptions import Unavailable

# A channel that is full for so long, in seconds, is given up.
_PATIENCE = 10.0

__all__ = ["ChannelFull", "Layer", "told"]


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
        with told():
            channel: str = await self.layer.new_channel()
        return channel

    def drop_channel(self, channel: str) -> None:
        """The relay's channel is not received on any more."""

    async def receive(self, channel: str) -> dict[str, Any]:
        """Raises `Unavailable`."""
        with told():
            message: dict[str, Any] = await self.layer.receive(channel)
        return message

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Raises `ChannelFull` where the channel is at its capacity, and `Unavailable`."""
        with told():
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
        with told():
            await self.layer.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Raises `Unavailable`."""
        with told():
            await self.layer.group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """For groups of which `routes` does not tell the channels. Raises `Unavailable`."""
        with told():
            await self.layer.group_send(group, message)

    async def routes(self, groups: Collection[str]) -> Mapping[str, Sequence[str]]:  # noqa: ARG002
        """The channels of these groups; nothing, where the layer can't tell them.

        With them, what is for several groups goes to a channel as one message. Raises `Unavailable`.
        """
        return {}


@contextlib.contextmanager
def told() -> Iterator[None]:
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
