"""channels_redis' core layer, in fewer round trips and without its losses.

There a message takes four round trips, and what goes to a group is dropped silently where a channel is
full (2 servers and 2 workers on 2 cores lost 40,866 of 133,500 broadcasts to that). What waits is sorted by
the senders' clocks: where a hub goes from one worker to another whose clock differs, a server that is
behind would hear the two in another order than the rest.

So here a script puts what is to be sent into all channels at once, or into none yet; with the broker's
time, and behind all that is there. All that is asked for at the same time is one round trip.

A relay's channel is a name of its own and not one of the layer's ``specific.`` ones: those of a process
share one key, its capacity, and a lock.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from channels.exceptions import ChannelFull
from redis.exceptions import NoScriptError

from django_hub.backoff import waits
from django_hub.batching import Batcher
from django_hub.exceptions import Damaged, Unavailable
from django_hub.layers.base import PATIENCE, Layer, Message, Target, told
from django_hub.layers.tap import Tap
from django_hub.logs import get_logger
from django_hub.loops import PerLoop

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
logger = get_logger(__name__)

_RELAY = "hub-relay."
# There is but one host (check E002).
_HOST = 0

# KEYS: channels. ARGV: seconds after which a message expires; for each channel which message it gets, how
# many it takes, and whether to wait for it; the messages.
# Returns whether the messages were added, and which channels are full: they got none.
_PUT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local answer, full = {1}, {}
for at, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, 0, string.format('%.6f', now - ARGV[1]))
  if redis.call('ZCARD', key) >= tonumber(ARGV[3 * at]) then
    full[at] = true
    answer[#answer + 1] = at
    if ARGV[3 * at + 1] == '1' then
      answer[1] = 0
    end
  end
end
if answer[1] == 1 then
  for at, key in ipairs(KEYS) do
    if not full[at] then
      local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2]
      local score = math.max(now, (tonumber(last) or 0) + 0.000001)
      local message = ARGV[3 * #KEYS + 1 + ARGV[3 * at - 1]]
      redis.call('ZADD', key, string.format('%.6f', score), message)
      redis.call('EXPIRE', key, ARGV[1])
    end
  end
end
return answer
"""

# KEYS: a group. ARGV: seconds after which it forgets a channel; the channel.
_ADD = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, string.format('%.6f', now - ARGV[1]))
redis.call('ZADD', KEYS[1], string.format('%.6f', now), ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""

# KEYS: a group. ARGV: a channel; when it died. One that was added later is back.
_BURY = """
local added = redis.call('ZSCORE', KEYS[1], ARGV[1])
if added and tonumber(added) <= tonumber(ARGV[2]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
"""

# KEYS: a group. ARGV: as above. Returns its channels.
_CHANNELS = """
local clock = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], clock[1] + clock[2] / 1000000 - ARGV[1], '+inf')
"""

# What puts commands into a pipeline, and how many.
_Call: TypeAlias = tuple[Callable[[Any], object], int]


class _Office:
    """What belongs to one loop: the calls that wait, and the channels that are received on."""

    def __init__(self, run: Callable[[Sequence[_Call]], Awaitable[Sequence[Sequence[Any]]]]) -> None:
        self.calls: Batcher[_Call, Sequence[Any]] = Batcher(run)
        self.taps: dict[str, Tap] = {}


class CoreLayer(Layer):
    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._offices: PerLoop[_Office] = PerLoop()

    async def new_channel(self) -> str:
        return _RELAY + uuid.uuid4().hex

    async def _receive(self, channel: str) -> Any:
        layer, taps = self.layer, self._office.taps
        if channel not in taps:
            taps[channel] = Tap(layer.connection(_HOST), layer.prefix + channel, layer.brpop_timeout)
        return layer.deserialize(await taps[channel].take())

    async def stop(self, channel: str, unread: Sequence[Message] = ()) -> None:
        tap = self._office.taps.pop(channel, None)
        taken = await tap.close() if tap is not None else None
        if channel.startswith(_RELAY):  # which nobody else receives on
            return
        if taken is not None:
            unread = [*unread, self.layer.deserialize(taken)]
        # Each by itself: where there is room for some, these are not to be lost with the others.
        answers = await asyncio.gather(
            *(self.send(channel, message) for message in unread), return_exceptions=True
        )
        if failures := [answer for answer in answers if isinstance(answer, BaseException)]:
            raise Unavailable(
                f"{len(failures)} of {len(unread)} unread messages on {channel} could not be given back: "
                f"{failures[0]!r}"
            )

    async def send(self, channel: str, message: Message) -> None:
        if "!" in channel:  # of one consumer, where more has to be said
            await super().send(channel, message)
        else:
            _, full = await self._put({channel: message}, {channel})
            if full:
                raise ChannelFull

    async def deliver(self, messages: Mapping[Target, Message]) -> dict[Target, Exception]:
        """To all channels at once: two senders to the same ones are heard in one order everywhere."""
        by_name = {target.name: message for target, message in messages.items()}
        clock = asyncio.get_running_loop().time
        gives_up = clock() + PATIENCE
        pauses = waits(first=0.01, most=0.2)
        while True:
            try:
                patient = by_name.keys() - self._stuck if clock() < gives_up else set[str]()
                done, full = await self._put(by_name, patient)
            except Exception as error:  # noqa: BLE001 (theirs who sent it)
                return dict.fromkeys(messages, error)
            if done:
                self._stuck = self._stuck.difference(by_name) | full
                return {target: ChannelFull() for target in messages if target.name in full}
            await asyncio.sleep(next(pauses))

    async def group_add(self, group: str, channel: str) -> None:
        key = self.layer._group_key(group)  # noqa: SLF001 (there is no public way)
        await self._ask(lambda p: p.evalsha(_digest(_ADD), 1, key, int(self.group_expiry), channel))

    async def group_discard(self, group: str, channel: str) -> None:
        key = self.layer._group_key(group)  # noqa: SLF001
        await self._ask(lambda p: p.zrem(key, channel))

    async def routes(self, groups: Collection[str]) -> Mapping[str, Sequence[str]]:
        keys = [self.layer._group_key(group) for group in groups]  # noqa: SLF001

        def fill(pipeline: Any) -> None:
            for key in keys:
                pipeline.evalsha(_digest(_CHANNELS), 1, key, int(self.group_expiry))

        routes: dict[str, list[str]] = {}
        with told():
            answers = await self._office.calls.put((fill, len(keys)))
        for group, answer in zip(groups, answers, strict=True):
            try:
                with told():
                    routes[group] = [name.decode() for name in _checked(answer)]
            except (Damaged, UnicodeDecodeError) as error:
                # Of this group only: the others' broadcasts go on.
                logger.error("Broadcasts to %s reach nobody: %s", group, error)
                routes[group] = []
        return routes

    async def bury(self, process: str, died: float, groups: Collection[str]) -> None:
        if not process.startswith(_RELAY):
            return
        keys = [self.layer._group_key(group) for group in groups]  # noqa: SLF001

        def fill(pipeline: Any) -> None:
            for key in keys:
                pipeline.evalsha(_digest(_BURY), 1, key, process, f"{died:.6f}")

        with told():
            await self._office.calls.put((fill, len(keys)))
        self._stuck.discard(process)

    async def _put(
        self, messages: Mapping[str, Message], patient: Collection[str]
    ) -> tuple[bool, set[str]]:
        """Were they added? Not so, to no channel, while one of ``patient`` is full. And which are full."""
        layer = self.layer
        channels = list(messages)
        # Most often all get the same: it goes to the broker once.
        contents: dict[int, Any] = {}
        numbers: dict[int, int] = {}
        args: list[Any] = []
        for channel, message in messages.items():
            number = numbers.setdefault(id(message), len(numbers) + 1)
            if number not in contents:
                contents[number] = layer.serialize(message)
            args += [number, layer.get_capacity(channel), int(channel in patient)]
        keys = [layer.prefix + channel for channel in channels]
        words = [int(layer.expiry), *args, *contents.values()]
        ((done, *full),) = await self._ask(lambda p: p.evalsha(_digest(_PUT), len(keys), *keys, *words))
        return bool(done), {channels[at - 1] for at in full}

    async def _ask(self, fill: Callable[[Any], object], count: int = 1) -> Sequence[Any]:
        """The answers to commands, which go with all others that wait. Raises `Unavailable`."""
        with told():
            answers = await self._office.calls.put((fill, count))
            return [_checked(answer) for answer in answers]

    @property
    def _office(self) -> _Office:
        return self._offices.get(lambda: _Office(self._run))

    async def _run(self, calls: Sequence[_Call]) -> list[list[Any]]:
        answers = await self._execute(calls)
        # A broker that was restarted or flushed has no scripts. What needed one was not carried out.
        again = [number for number, each in enumerate(answers) if any(map(_is_no_script, each))]
        if again:
            redis = self.layer.connection(_HOST)
            for script in (_PUT, _ADD, _BURY, _CHANNELS):
                await redis.script_load(script)
            for number, each in zip(again, await self._execute([calls[n] for n in again]), strict=True):
                answers[number] = each
        return answers

    async def _execute(self, calls: Sequence[_Call]) -> list[list[Any]]:
        pipeline = self.layer.connection(_HOST).pipeline(transaction=False)
        for fill, _ in calls:
            fill(pipeline)
        answers = iter(await pipeline.execute(raise_on_error=False))
        return [[next(answers) for _ in range(count)] for _, count in calls]

    @staticmethod
    def fits(layer: Any) -> bool:
        """Has this core layer all that is relied on?"""
        return all(hasattr(layer, name) for name in _NEEDED)


@functools.cache
def _digest(script: str) -> str:
    # The digest is the broker's name for a script, and no secret.
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _checked(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _is_no_script(answer: object) -> bool:
    return isinstance(answer, NoScriptError)
