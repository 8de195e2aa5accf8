"""The contract on the Redis store, with a real server; and what is its own."""

import asyncio
import time

import pytest

from django_hub.stores.hosts import connect
from django_hub.stores.redis import RedisStore
from tests.live.servers import MS, valkey
from tests.stores.contract import StoreContract, limits_for

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
