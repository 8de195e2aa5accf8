"""What the Redis store remembers for a while: keys of their own, each with its time."""

import pytest
from redis.asyncio import Redis

from django_hub.exceptions import Damaged
from django_hub.stores.redis import RedisStore

pytestmark = pytest.mark.broker


async def test_each_key_ends_by_itself(redis: Redis) -> None:
    store = RedisStore(redis, "marks")
    await store.ban("lobby", "user:7", 50.0, "spam")
    await store.spend("t1", "a", 70.0)
    left = {key: await redis.pttl(key) for key in await redis.keys("*")}
    assert {key: round(ttl / 1000) for key, ttl in left.items()} == {
        "marks:{hub.lobby}:ban:user:7": 50,
        "marks:{indexes}:spent:t1": 70,
    }


async def test_what_something_else_wrote_there_harms_nobody_but_its_hub(redis: Redis) -> None:
    store = RedisStore(redis, "marks")
    await store.ban("lobby", "user:7", 50.0, "spam")
    await redis.delete("marks:{hub.lobby}:ban:user:8")
    await redis.lpush("marks:{hub.lobby}:ban:user:8", "x")
    # MGET takes what is no text for nothing: a ban is not there, and nothing fails.
    assert await store.bans([("lobby", "user:7"), ("lobby", "user:8")]) == ["spam", None]
    await redis.lpush("marks:{indexes}:spent:t2", "x")
    with pytest.raises(Damaged):
        await store.spend("t2", "a", 5.0)
