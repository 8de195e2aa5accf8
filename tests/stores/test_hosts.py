"""The ways in which a host can be given, each with a real server at its other end."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
import redis

from django_hub.layers.choice import get_layer
from django_hub.stores.registry import get_store
from tests.certificates import write_certificate
from tests.live.servers import MS, Broker, Server, eventually, free_port, valkey
from tests.stores.contract import join

pytestmark = pytest.mark.broker


class Sentinel(Server):
    """A Sentinel that knows one primary, as ``main``."""

    def __init__(self, broker: Broker, directory: Path) -> None:
        super().__init__("sentinel")
        self.binary = broker.binary
        self.config = directory / "sentinel.conf"
        lines = ["sentinel monitor main 127.0.0.1 {} 1", "sentinel resolve-hostnames no"]
        self.config.write_text("\n".join(lines).format(broker.port) + "\n")

    def command(self) -> list[str]:
        return [str(self.binary), str(self.config), "--port", str(self.port), "--sentinel"]


@contextlib.asynccontextmanager
async def tls_in_front_of(broker, directory):
    """The port of what ends TLS: the Valkey of the tests is built without."""
    pem = directory / "localhost.pem"
    write_certificate(pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)

    async def pass_on(reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader, writer):
        inner = await asyncio.open_connection("127.0.0.1", broker.port)
        await asyncio.gather(pass_on(reader, inner[1]), pass_on(inner[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", free_port(), ssl=context) as server:
        yield server.sockets[0].getsockname()[1], pem


async def used(settings, host, prefix, **django_hub):
    """A member joins through the store, a message goes through the layer, both of them over this host."""
    config = {"hosts": [host], "prefix": prefix}
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}
    }
    settings.DJANGO_HUB = django_hub
    store, layer = get_store(), get_layer()
    try:
        await store.apply([join()])
        assert await store.count("lobby") == 1
        await layer.send("events", {"type": "hello"})
        assert await asyncio.wait_for(layer.receive("events"), 5_000 * MS) == {"type": "hello"}
    finally:
        await layer.stop("events")
        pools = [store._redis.connection_pool, layer.layer.connection(0).connection_pool]
        await store.close()
        await layer.layer.close_pools()
        for pool in pools:
            # Nobody closes what a pool asks its Sentinels with.
            for sentinel in pool.sentinel_manager.sentinels if hasattr(pool, "sentinel_manager") else ():
                await sentinel.aclose(close_connection_pool=True)


@pytest.fixture
async def broker(tmp_path):
    async with valkey(unixsocket=str(tmp_path / "valkey.sock"), appendonly="no") as broker:
        broker.socket = tmp_path / "valkey.sock"
        yield broker


async def test_a_url_an_address_and_a_host_with_its_port(broker, settings):
    await used(settings, broker.url, "one")
    await used(settings, {"address": broker.url, "socket_timeout": 15}, "two")
    await used(settings, {"host": "127.0.0.1", "port": broker.port}, "three")
    await used(settings, ("127.0.0.1", broker.port), "four")


async def test_a_unix_socket(broker, settings):
    await used(settings, f"unix://{broker.socket}", "asgi")


async def test_tls(broker, settings, tmp_path):
    async with tls_in_front_of(broker, tmp_path) as (port, pem):
        await used(settings, f"rediss://localhost:{port}/0?ssl_ca_certs={pem}", "asgi")


async def test_sentinel(broker, settings, tmp_path):
    async with Sentinel(broker, tmp_path) as sentinel:
        host = {"sentinels": [("127.0.0.1", sentinel.port)], "master_name": "main"}

        async def knows_its_primary():
            await used(settings, host, "asgi")
            return True

        await eventually(knows_its_primary, 10_000 * MS)


async def test_a_store_of_its_own(broker, settings):
    """The layer is elsewhere: members and events are where STORE says."""
    async with valkey(appendonly="no") as other:
        await used(settings, broker.url, "asgi", STORE=other.url)
        await used(settings, broker.url, "asgi2", STORE={"address": other.url, "socket_timeout": 15})
        for server, kept in ((broker, False), (other, True)):
            with redis.Redis.from_url(server.url) as client:
                assert bool(client.keys("*:hub:*")) is kept
