"""The state machine of the stores, on a real server with a bad line: any round trip may be lost."""

import asyncio
import itertools

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from django_hub.stores.hosts import connect
from django_hub.stores.redis import RedisStore
from tests.live.servers import valkey
from tests.stores.faults import BadLine, Insistent, Loss
from tests.stores.test_machine import LIMITS, StoreMachine

pytestmark = pytest.mark.broker

# The server's clock can't be set: what it keeps as a time is made older instead.
LET_TIME_GO_BY = """
local seconds = tonumber(ARGV[2])
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do
  local ttl = redis.call('PTTL', key)
  local name = string.match(key, '[^:]*$')
  if string.find(key, ':score:') then
    local value, at = string.match(redis.call('GET', key), '^(%S+) (%S+)$')
    redis.call('SET', key, value .. string.format(' %.0f', at - seconds * 1000000))
  end
  if ttl > 0 then
    redis.call('PEXPIRE', key, string.format('%.0f', ttl - seconds * 1000))
  elseif name == 'processes' then
    for _, process in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      redis.call('ZINCRBY', key, string.format('%.0f', -seconds * 1000000), process)
    end
  elseif name == 'members' then
    for _, client in ipairs(redis.call('HKEYS', key)) do
      local record = redis.call('HGET', key, client)
      local fields = string.rep('[^\\n]*\\n', 5)
      local before, lost, who = string.match(record, '^(' .. fields .. ')(%d+)(\\n.*)$')
      if lost then
        lost = string.format('%.0f', lost - seconds * 1000000)
        redis.call('HSET', key, client, before .. lost .. who)
      end
    end
  elseif name == 'hub' then
    for _, field in ipairs({'until', 'rung'}) do
      local time = redis.call('HGET', key, field)
      if time then
        redis.call('HSET', key, field, string.format('%.0f', time - seconds * 1000000))
      end
    end
  end
end
"""

_prefixes = (f"m{number}" for number in itertools.count())


class RedisMachine(StoreMachine):
    url = ""

    def make_store(self):
        self.redis = connect({"address": self.url, "socket_timeout": 15})
        self.line = BadLine(self.redis)
        self.prefix = next(_prefixes)
        return Insistent(RedisStore(self.line, self.prefix, LIMITS), self.line)

    def was_repeated(self):
        return self.store.repeated

    def advance(self, seconds):
        super().advance(seconds)
        self.ask(self.redis.eval(LET_TIME_GO_BY, 0, self.prefix, seconds))

    def remains(self):
        return self.ask(self.redis.keys(f"{self.prefix}:*")) or {}

    @rule(loss=st.sampled_from(Loss), trip=st.integers(1, 3))
    def lose_a_round_trip(self, loss, trip):
        """One of those of the next operation that changes anything."""
        self.store.loss, self.store.trip = loss, trip


# No shrinking: it takes minutes on a server, and the seed repeats a failure.
RedisMachine.TestCase.settings = settings(
    max_examples=15, stateful_step_count=40, phases=[Phase.reuse, Phase.generate]
)


@pytest.mark.timeout(300)
class TestRedisMachine(RedisMachine.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = valkey(appendonly="no")
        asyncio.run(cls.server.start())
        RedisMachine.url = cls.server.url

    @classmethod
    def tearDownClass(cls):
        asyncio.run(cls.server.stop())
