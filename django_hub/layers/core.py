"""channels_redis' core layer, in fewer round trips and without its losses.

There a message takes four round trips, and what goes to a group is dropped silently where a channel is
full (2 servers and 2 workers on 2 cores lost 40,866 of 133,500 broadcasts to that). Here a message is one
script, many of them are one round trip, and a group's channels are read and each is sent to by itself.
What waits in a channel is ordered by the broker's clock: by the senders', one that is ahead would be
heard last.

A relay's channel is a name of its own and not one of the layer's ``specific.`` ones: those of a process
share one key, its capacity, and a lock.
"""

from __future__ import annotations

import asyncio
import time
import uuid
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from channels.exceptions import ChannelFull

from django_hub.batching import Batcher
from django_hub.layers.base import Layer, told

# Relied on, as of channels_redis 4.3.0. `_group_key(group)` names the sorted set of a group's channels,
# each with the time at which it was added; `prefix` and a channel's name that of its messages, each with
# the time at which it was sent; `connection(index)` is a redis-py client.
_NEEDED = (
    "_group_key",
    "brpop_timeout",
    "connection",
    "deserialize",
    "expiry",
    "get_capacity",
    "prefix",
    "serialize",
)
_RELAY = "hub-relay."
# There is but one host (check E002).
_HOST = 0

# KEYS: a channel. ARGV: its capacity, after how many seconds a message is dropped, a message.
# Returns 0 if the channel is full.
_SEND = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - ARGV[2])
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then
  return 0
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last then
  now = math.max(now, last + 0.000001)
end
redis.call('ZADD', KEYS[1], string.format('%.6f', now), ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""

# What puts commands into a pipeline, and how many.
_Call: TypeAlias = tuple[Callable[[Any], object], int]
_Calls: TypeAlias = Batcher[_Call, Sequence[Any]]


class CoreLayer(Layer):
    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._calls: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Calls] = (
            weakref.WeakKeyDictionary()
        )

    async def new_channel(self) -> str:
        return _RELAY + uuid.uuid4().hex

    async def receive(self, channel: str) -> dict[str, Any]:
        # Not so for a worker's channel: a receive that is cancelled there must lose nothing, and the
        # layer's own, with more round trips, keeps what it took until it was handed on.
        if not channel.startswith(_RELAY):
            return await super().receive(channel)
        layer = self.layer
        popped = None
        with told():
            while popped is None:
                connection = layer.connection(_HOST)
                popped = await connection.bzpopmin(layer.prefix + channel, timeout=layer.brpop_timeout)
        message: dict[str, Any] = layer.deserialize(popped[1])
        return message

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if "!" in channel:  # of one consumer, where more has to be said
            await super().send(channel, message)
            return
        layer = self.layer
        words = (layer.get_capacity(channel), int(layer.expiry), layer.serialize(message))
        (taken,) = await self._call(lambda p: p.eval(_SEND, 1, layer.prefix + channel, *words), 1)
        if not taken:
            raise ChannelFull

    async def group_add(self, group: str, channel: str) -> None:
        key = self.layer._group_key(group)  # noqa: SLF001 (there is no public way)

        def fill(pipeline: Any) -> None:
            pipeline.zadd(key, {channel: time.time()})
            pipeline.expire(key, int(self.group_expiry))

        await self._call(fill, 2)

    async def group_discard(self, group: str, channel: str) -> None:
        key = self.layer._group_key(group)  # noqa: SLF001
        await self._call(lambda pipeline: pipeline.zrem(key, channel), 1)

    async def routes(self, groups: Collection[str]) -> Mapping[str, Sequence[str]]:
        keys = [self.layer._group_key(group) for group in groups]  # noqa: SLF001
        oldest = time.time() - self.group_expiry

        def fill(pipeline: Any) -> None:
            for key in keys:
                pipeline.zrangebyscore(key, oldest, "+inf")

        answers = await self._call(fill, len(keys))
        return {
            group: [name.decode() for name in names] for group, names in zip(groups, answers, strict=True)
        }

    async def _call(self, fill: Callable[[Any], object], count: int) -> Sequence[Any]:
        """The answers to commands that go with all others which wait. Raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        calls = self._calls.get(loop)
        if calls is None:
            calls = self._calls[loop] = Batcher(self._run)
        with told():
            answers = await calls.put((fill, count))
            for answer in answers:
                if isinstance(answer, Exception):
                    raise answer
        return answers

    async def _run(self, calls: Sequence[_Call]) -> Sequence[Sequence[Any]]:
        pipeline = self.layer.connection(_HOST).pipeline(transaction=False)
        for fill, _ in calls:
            fill(pipeline)
        answers = iter(await pipeline.execute(raise_on_error=False))
        return [[next(answers) for _ in range(count)] for _, count in calls]

    @staticmethod
    def fits(layer: Any) -> bool:
        """Is that such a layer, with all that is relied on?"""
        return type(layer).__module__ == "channels_redis.core" and all(
            hasattr(layer, name) for name in _NEEDED
        )
