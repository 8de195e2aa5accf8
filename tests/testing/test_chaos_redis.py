"""ChaosLayer around channels_redis' layers, on a real server, in projects that know nothing of hubs."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys

import pytest
import redis
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.test import override_settings

from django_hub.testing import ChaosLayer
from tests.sockets import Socket, until, websocket_scope
from tests.testing.test_chaos import RATES, layer_of, twenty_said

pytestmark = pytest.mark.broker

KINDS = {
    "core": "channels_redis.core.RedisChannelLayer",
    "pubsub": "channels_redis.pubsub.RedisPubSubChannelLayer",
}
PATIENCE = 10


@pytest.fixture(params=KINDS)
def inside(request, server):
    """The settings of the layer inside; each test has a prefix of its own."""
    host = {"address": server.url, "socket_timeout": 15}
    prefix = f"{request.node.name.partition('[')[0]}-{request.param}"
    return {"BACKEND": KINDS[request.param], "CONFIG": {"hosts": [host], "prefix": prefix}}


@pytest.fixture
async def make(inside):
    """Layers as several processes have them."""
    made = []

    def make(**rates):
        made.append(ChaosLayer(inside, **rates))
        return made[-1]

    yield make
    for layer in made:
        await layer.calm()
        await layer.flush()


async def heard(layer, channel, count):
    async with asyncio.timeout(PATIENCE):
        return [(await layer.receive(channel))["n"] for _ in range(count)]


async def say(layer, group, count, start=0):
    for number in range(start, start + count):
        await layer.group_send(group, {"type": "x", "n": number})


async def test_a_group_has_its_members_in_all_processes(make):
    here, there = make(), make()
    mine, theirs = await here.new_channel(), await there.new_channel()
    await here.group_add("g", mine)
    await there.group_add("g", theirs)
    await say(here, "g", 5)
    assert await heard(here, mine, 5) == list(range(5))
    assert await heard(there, theirs, 5) == list(range(5))
    await there.group_discard("g", theirs)
    await say(here, "g", 1, start=5)
    await there.send(theirs, {"type": "x", "n": 6})
    assert (await heard(here, mine, 1), await heard(there, theirs, 1)) == ([5], [6])


async def test_faults_are_the_same_each_time_and_only_what_is_dropped_is_lost(make):
    async def once():
        layer = make(seed=1, **{**RATES, "late": 1000.0})
        channels = [await layer.new_channel() for _ in range(2)]
        for channel in channels:
            await layer.group_add("g", channel)
        await say(layer, "g", 40)
        faults = dict(layer.faults)
        await layer.calm()
        await say(layer, "g", 1, start=-1)
        heard_by = []
        for channel in channels:
            mine = await heard(layer, channel, 1)
            while mine[-1] != -1:
                mine += await heard(layer, channel, 1)
            heard_by.append(mine)
            await layer.group_discard("g", channel)
        assert len(set(heard_by[0])) == 40 - faults["drop"] + 1
        assert min(faults.values()) > 0
        return heard_by, faults

    first, faults = await once()
    assert first[0] == first[1], "the whole group_send meets a fault"
    assert first[0] != sorted(first[0])
    assert (first, faults) == await once()


async def test_a_channel_that_is_full_is_as_in_the_layer_inside(make, inside):
    if "core" not in inside["BACKEND"]:
        return  # the other one has no bound
    inside["CONFIG"]["capacity"] = 3
    layer = make(double=1.0)
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "x", "n": 0})
    await layer.send(channel, {"type": "x", "n": 1})
    before = layer.faults["drop"]
    layer.double = 0.0
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "x", "n": 2})
    layer.delay, layer.late = 1.0, 1000.0
    await layer.send(channel, {"type": "x", "n": 4})
    await layer.settle()
    assert layer.faults["drop"] == before + 1
    assert (await heard(layer, channel, 3))[:3] == [0, 0, 1]


async def test_a_copy_that_does_not_fit_is_none_of_the_senders_business(make, inside):
    if "core" not in inside["BACKEND"]:
        return
    inside["CONFIG"]["capacity"] = 3
    layer = make()
    channel = await layer.new_channel()
    for number in range(2):
        await layer.send(channel, {"type": "x", "n": number})
    layer.double = 1.0
    await layer.send(channel, {"type": "x", "n": 2})
    assert layer.faults["drop"] == 1
    assert await heard(layer, channel, 3) == [0, 1, 2]


async def test_what_is_late_while_the_broker_is_away_is_lost_and_told(inside, caplog):
    inside["CONFIG"]["hosts"] = ["redis://127.0.0.1:1"]
    layer = ChaosLayer(inside, delay=1.0, late=0.001)
    await layer.send("somebody", {"type": "x"})
    await until(lambda: layer.faults["drop"] == 1)
    assert "A late message for somebody is lost: ConnectionError" in caplog.text
    layer.delay = 0.0
    with pytest.raises(redis.exceptions.ConnectionError):
        await layer.send("somebody", {"type": "x"})


def test_what_blocking_code_sends_comes_too(inside):
    layer = ChaosLayer(inside, delay=1.0, late=1000.0)

    async def hear():
        channel = await layer.new_channel()
        await layer.group_add("g", channel)

        async def view(number):
            await asyncio.to_thread(async_to_sync(layer.group_send), "g", {"type": "x", "n": number})

        await view(0)
        await view(1)
        assert layer._late
        layer.delay = 0.0
        await view(2)
        try:
            return await heard(layer, channel, 3)
        finally:
            await layer.flush()

    assert asyncio.run(hear()) == [0, 1, 2]


class Chat(AsyncWebsocketConsumer):
    """As in Channels' own tutorial."""

    names = []  # noqa: RUF012

    async def connect(self):
        self.names.append(self.channel_name)
        await self.channel_layer.group_add("chat", self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard("chat", self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("chat", {"type": "chat.message", "message": text_data})

    async def chat_message(self, event):
        await self.send(json.dumps({"message": event["message"]}))


async def end(layer, *clients):
    """With redis-py 8 the core layer by itself does not always see that its `receive` was cancelled, until
    something comes."""
    for client in clients:
        client.disconnect()
    while any(client.running for client in clients):
        for name in Chat.names:
            with contextlib.suppress(ChannelFull):
                await layer.send(name, {"type": "chat.message", "message": "bye"})
        await asyncio.sleep(0.01)
    Chat.names.clear()


async def test_a_plain_consumer_on_a_bad_line(inside):
    with override_settings(CHANNEL_LAYERS={"default": layer_of(layer=inside, double=1.0)}):
        layer = get_channel_layer()
        async with (
            Socket(Chat.as_asgi(), websocket_scope("chat")) as ann,
            Socket(Chat.as_asgi(), websocket_scope("chat")) as bob,
        ):
            await ann.connect()
            await bob.connect()
            ann.send_nowait("hello")
            for client in (ann, bob):
                assert await client.receive_all(2) == ['{"message": "hello"}'] * 2
            layer.double, layer.drop = 0.0, 1.0
            bob.send_nowait("lost")
            await until(lambda: layer.faults["drop"] == 1)
            await layer.calm()
            bob.send_nowait("good")
            for client in (ann, bob):
                assert await client.receive() == '{"message": "good"}'
            await end(layer, ann, bob)
        await layer.flush()


@pytest.mark.parametrize("seed", range(2))
async def test_hubs_lose_nothing_by_it(inside, seed):
    await twenty_said(layer_of(layer=inside, seed=seed, **RATES))


WITHOUT_HUBS = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "django_hub.testing.ChaosLayer", "CONFIG": {"drop": 1.0}}},
)
django.setup()
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
async_to_sync(get_channel_layer().send)("somebody", {"type": "x"})
assert get_channel_layer().faults["drop"] == 1
"""


def test_it_needs_no_app_of_ours():
    env = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_HUBS],
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    assert done.returncode == 0, done.stderr
