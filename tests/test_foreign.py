"""What others send to our channels, and channels of few places: channels_redis' layers on a real server."""

import asyncio
import logging
import time

import msgpack
import pytest
from django.test import override_settings
from redis.asyncio import Redis

from django_hub.bells import WAKE, Bells
from django_hub.endings import end
from django_hub.entries import Entry
from django_hub.fanout import Fanout
from django_hub.layers.choice import get_layer
from django_hub.layers.core import CoreLayer
from django_hub.listener import listen
from django_hub.ordering import Ordering
from django_hub.parcels import pack
from django_hub.pump import pump
from django_hub.sender import Sender
from django_hub.stores.memory import MemoryStore
from tests.apps import Line, make_connection
from tests.live.servers import MS, eventually

pytestmark = pytest.mark.broker

EVENTS = "foreign-events"
JUNK = [
    b"",
    b"\xc1",
    b"junk",
    msgpack.packb(5),
    msgpack.packb(["a", "list"]),
    msgpack.packb({"no": "type"}),
]

got = []


async def application(scope, receive, send):
    while True:
        got.append(await receive())


@pytest.fixture(params=["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
async def layer(request, server):
    hosts = [{"address": server.url, "socket_timeout": 15}]
    backend = {"BACKEND": f"channels_redis.{request.param}", "CONFIG": {"hosts": hosts, "capacity": 5}}
    got.clear()
    with override_settings(
        CHANNEL_LAYERS={"default": backend}, ASGI_APPLICATION="tests.test_foreign.application"
    ):
        layer = get_layer()
        yield layer
        await layer.layer.flush()
        if hasattr(layer.layer, "close_pools"):
            await layer.layer.close_pools()


@pytest.fixture
async def stranger(server, layer):
    """Sends bytes to a channel, as the layer would but for what is in them."""
    async with Redis.from_url(server.url) as client:

        async def send(channel, junk):
            if isinstance(layer, CoreLayer):
                key = layer.layer.prefix + channel
                await client.zadd(key, {junk: time.time()})
                await eventually(lambda: taken(client, key))
            else:
                await client.publish(channel, junk)

        yield send


async def taken(client, key):
    return not await client.zcard(key)


STORE = MemoryStore()


class Hall:
    """A pump on a channel of its own, for one client."""

    async def open(self, layer):
        self.line = Line()
        fanout = Fanout()
        self.ordering = Ordering(STORE, fanout)
        fanout.add(make_connection("ann", "lobby", self.line))
        self.channel = await layer.new_channel()
        await layer.group_add("hub.lobby", self.channel)
        return self

    def start(self, layer):
        self.task = asyncio.create_task(pump(layer, self.channel, self.ordering, lambda _: None))


@pytest.fixture
async def hall(layer):
    hall = await Hall().open(layer)
    hall.start(layer)
    yield hall
    await end([hall.task])


@pytest.fixture
async def listening(layer):
    task = asyncio.create_task(listen(layer, EVENTS, grace=1.0))

    async def hears():
        await layer.send(EVENTS, {"type": "hello"})
        return got

    await eventually(hears)
    yield
    await end([task])


async def test_junk_on_a_relays_channel_is_logged_and_the_next_parcel_arrives(
    layer, stranger, hall, caplog
):
    for number, junk in enumerate(JUNK):
        before = len(caplog.records)
        await stranger(hall.channel, junk)
        await layer.send(hall.channel, pack([Entry("lobby", str(number))]))
        await eventually(lambda number=number: hall.line.frames[-1:] == [str(number)], 20_000 * MS)
        assert len(caplog.records) > before
    assert not hall.task.done()
    assert hall.channel in caplog.text


async def test_junk_on_a_workers_channel_is_logged_and_the_next_wake_arrives(
    layer, stranger, listening, caplog
):
    for number, junk in enumerate(JUNK):
        before = len(caplog.records)
        await stranger(EVENTS, junk)
        await layer.send(EVENTS, {"type": WAKE, "hubs": [str(number)]})
        await eventually(lambda number=number: got[-1].get("hubs") == [str(number)], 20_000 * MS)
        # A message without a type is the application's to judge.
        assert len(caplog.records) > before or junk == JUNK[-1]
        assert EVENTS in caplog.text


async def test_a_channel_of_five_places_loses_no_broadcast(layer, hall):
    many = [str(number) for number in range(60)]
    await end([hall.task])
    await layer.group_discard("hub.lobby", hall.channel)
    hall = await Hall().open(layer)

    sender = Sender(layer, STORE, hall.ordering.room)

    async def send_all():
        for number in many:
            assert await sender.broadcast(Entry("lobby", number)) is None

    sending = asyncio.create_task(send_all())
    assert await Sender(layer, STORE, hall.ordering.room).broadcast(Entry("elsewhere", "x")) is None
    hall.start(layer)
    await sending
    await eventually(lambda: hall.line.frames == many, 20_000 * MS)
    await end([hall.task])


async def test_a_worker_whose_channel_has_five_places_is_rung_without_an_error(layer, listening, caplog):
    bells = Bells(layer)
    many = {str(number) for number in range(60)}
    for number in many:
        bells.ring([(number, EVENTS)])
        await asyncio.sleep(0)
    await bells.idle()

    def rung():
        return {hub for message in got for hub in message.get("hubs", ())}

    # Those for which there was no place are rung for again by the next look.
    await eventually(rung)
    assert rung() <= many
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
