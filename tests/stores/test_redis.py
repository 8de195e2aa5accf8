"""The contract on the Redis store, with a real server; and what is its own."""

import asyncio
import time

import pytest

from django_hub.exceptions import Unavailable
from django_hub.limits import Limits
from django_hub.stores.hosts import connect
from django_hub.stores.ops import Commit, Lease
from django_hub.stores.redis import RedisStore
from tests.live.servers import MS, valkey
from tests.stores.contract import StoreContract, join, limits_for

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def server():
    server = valkey(appendonly="no")
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def redis(server):
    client = connect({"address": server.url, "socket_timeout": 15})
    await client.flushall()
    yield client
    await client.aclose(close_connection_pool=True)


class TestRedisStore(StoreContract):
    unit = 30 * MS

    @pytest.fixture
    async def store(self, redis):
        store = RedisStore(redis, "test", limits_for(self.unit))
        yield store
        await store.close()

    async def advance(self, seconds):
        await asyncio.sleep(seconds)

    def now(self):
        return time.time()


@pytest.fixture
async def store(redis):
    return RedisStore(redis, "test", Limits())


async def test_scripts_that_the_server_forgot_are_loaded_again(redis, store):
    await store.apply([join()])
    await redis.script_flush()
    await store.apply([join(client="bob")])
    assert await store.count("lobby") == 2


async def test_an_emptied_server_begins_another_epoch(redis, store):
    epoch = await store.epoch()
    await redis.flushall()
    assert await store.epoch() != epoch


async def test_a_full_server_is_told_of_and_still_drains(redis, store):
    await store.apply([join()])
    (held,) = await store.claim(["lobby"], "w1")
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable, match="maxmemory"):
            await store.apply([join(client="bob")])
        (freed,) = await store.commit([Commit("lobby", held.token, held.batch[-1].position)])
        assert freed.lease is Lease.FREE
    finally:
        await redis.config_set("maxmemory", 0)
    await store.apply([join(client="bob")])
    assert await store.count("lobby") == 2


async def test_a_replica_is_told_of(redis, store):
    await redis.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(Unavailable, match="replica"):
            await store.apply([join()])
    finally:
        await redis.replicaof("NO", "ONE")


async def test_a_wrong_password_is_told_of():
    async with valkey(requirepass="right", appendonly="no") as locked:
        client = connect({"address": locked.url.replace("right", "wrong")})
        store = RedisStore(client, "test", Limits())
        with pytest.raises(Unavailable, match="refuses the user name or password"):
            await store.count("lobby")
        await store.close()


async def test_an_eviction_policy_that_loses_events_is_remarked(redis, store):
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (remark,) = await store.remarks()
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert "noeviction" in remark
    assert await store.remarks() == []


async def test_two_prefixes_share_a_server(redis, store):
    other = RedisStore(redis, "other", Limits())
    await store.apply([join()])
    assert await other.count("lobby") == 0
    assert await other.hubs() == []
