"""The queues of channels_redis' core layer, filled in one step and in one order.

By itself that layer drops what is sent to a group where a channel of it is full, and says so to nobody (2
servers and 2 workers on 2 cores lost 40,866 of 133,500 broadcasts to it). And it sorts what waits by the
sender's clock: where a hub goes from one worker to another whose clock differs, a server that is behind
would hear them in another order than the rest. So what waits is put there by a script: into all channels of
a group at once, or none yet; with the broker's time, and behind all that is there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

# KEYS: the queues. ARGV: seconds after which a message expires; then for each queue the message, how many
# the queue takes, and whether to wait for it. Returns whether the message was added, and which are full.
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
      redis.call('ZADD', key, string.format('%.6f', score), ARGV[3 * at - 1])
      redis.call('EXPIRE', key, ARGV[1])
    end
  end
end
return answer
"""

# KEYS: a group. ARGV: seconds after which it forgets a channel; the channel.
_ADD = """
local clock = redis.call('TIME')
redis.call('ZADD', KEYS[1], string.format('%.6f', clock[1] + clock[2] / 1000000), ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""

# KEYS: a group. ARGV: as above. Returns its channels.
_CHANNELS = """
local clock = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], clock[1] + clock[2] / 1000000 - ARGV[1], '+inf')
"""


class Queues:
    """Relied on, as of channels_redis 4.3.0: ``_group_key(group)`` names the sorted set of a group's
    channels; ``prefix`` and `non_local_name` that of a channel's messages, each serialized and with an
    ``__asgi_channel__`` that says where it goes; ``consistent_hash`` and ``connection`` lead to the server.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer

    @staticmethod
    def fit(layer: Any) -> bool:
        """Is that such a layer, with all that is relied on?"""
        needed = ("_group_key", "consistent_hash", "connection", "prefix", "serialize", "expiry")
        return type(layer).__module__ == "channels_redis.core" and all(
            hasattr(layer, name) for name in needed
        )

    async def put(
        self, channels: Sequence[str], message: dict[str, Any], patient: Collection[str]
    ) -> tuple[bool, set[str]]:
        """Add a message to channels of relays. False: to none of them, for one of ``patient`` is full.

        Also returns those that are full, and did not get it.
        """
        if not channels:
            return True, set()
        layer = self._layer
        args: list[Any] = []
        for channel in channels:
            content = layer.serialize({**message, "__asgi_channel__": channel})
            args += [content, layer.get_capacity(channel), int(channel in patient)]
        keys = [layer.prefix + layer.non_local_name(channel) for channel in channels]
        taken, *full = await self._run(channels[0], _PUT, keys, int(layer.expiry), *args)
        return bool(taken), {channels[at - 1] for at in full}

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group, or remember it anew."""
        await self._run(group, _ADD, [self._group_key(group)], self._layer.group_expiry, channel)

    async def of_group(self, group: str) -> list[str]:
        """The channels of a group."""
        names = await self._run(group, _CHANNELS, [self._group_key(group)], self._layer.group_expiry)
        return [name.decode() for name in names]

    def _group_key(self, group: str) -> Any:
        return self._layer._group_key(group)  # noqa: SLF001 (there is no public way)

    async def _run(self, name: str, script: str, keys: list[Any], *args: Any) -> Any:
        connection = self._layer.connection(self._layer.consistent_hash(name))
        return await connection.register_script(script)(keys=keys, args=args)
