"""What the tests of the Redis store share."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from django_hub.stores.hosts import connect
from tests.live.servers import Broker


@pytest.fixture
async def redis(server: Broker) -> AsyncIterator[Redis]:
    """A client of the module's server, which is empty."""
    client = connect({"address": server.url, "socket_timeout": 15})
    await client.flushall()
    yield client
    await client.aclose(close_connection_pool=True)
