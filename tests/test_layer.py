"""The calls into Channels' layer: the in-memory one, and Redis' on a real server."""

import asyncio
import threading

import pytest
from channels.exceptions import ChannelFull
from channels.layers import InMemoryChannelLayer
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_hub.layer import Layer, get_layer
from tests.live.servers import valkey

IN_MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
# Far above what any of these takes; a message that woke nobody takes the layer's whole patience.
PATIENCE = 20


def layers(**configured):
    return override_settings(CHANNEL_LAYERS=configured)


class OtherLoop:
    """An event loop that runs in a thread of its own."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def submit(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def __exit__(self, *_):
        if self.thread.is_alive():
            self.stop()
        self.loop.close()


@pytest.fixture
def layer():
    return Layer(InMemoryChannelLayer(capacity=2))


# Which layer


def test_the_layer_is_that_of_the_settings():
    with layers(default=IN_MEMORY, spare={**IN_MEMORY, "CONFIG": {"group_expiry": 7}}):
        assert get_layer().group_expiry == 86400
        with override_settings(DJANGO_HUB={"LAYER": "spare"}):
            assert get_layer().group_expiry == 7


@pytest.mark.parametrize(
    ("configured", "has"), [({}, "none"), ({"spare": IN_MEMORY, "other": IN_MEMORY}, "'spare', 'other'")]
)
def test_a_missing_layer_is_an_error_with_the_fix_to_paste(configured, has):
    with layers(**configured), pytest.raises(ImproperlyConfigured) as caught:
        get_layer()
    assert f"needs the channel layer 'default', and CHANNEL_LAYERS has {has}." in str(caught.value)
    fix = str(caught.value).rpartition("settings.py:\n")[2]
    namespace = {}
    exec(fix.strip(), namespace)
    with override_settings(CHANNEL_LAYERS=namespace["CHANNEL_LAYERS"]):
        assert get_layer().in_memory


@pytest.mark.parametrize(
    "broken", [{"BACKEND": "nowhere.Layer"}, {"CONFIG": {}}], ids=["no such backend", "no backend"]
)
def test_a_layer_that_cannot_be_made_is_a_configuration_error(broken):
    with layers(default=broken), pytest.raises(ImproperlyConfigured):
        get_layer()


def test_a_layer_that_does_not_say_when_groups_expire_keeps_them_a_day():
    class Bare:
        pass

    assert Layer(Bare()).group_expiry == 86400


# On one loop


async def test_what_is_sent_is_received(layer):
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "hello"})
    assert await layer.receive(channel) == {"type": "hello"}
    await layer.send(channel, {"type": "again"})
    assert await layer.receive(channel) == {"type": "again"}


async def test_new_channels_differ(layer):
    assert await layer.new_channel() != await layer.new_channel()


async def test_a_full_channel_says_so(layer):
    channel = await layer.new_channel()
    for _ in range(2):
        await layer.send(channel, {"type": "hello"})
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "hello"})


async def test_a_group_reaches_those_in_it_until_they_leave(layer):
    one, other = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("hub.lobby", one)
    await layer.group_add("hub.lobby", other)
    await layer.group_send("hub.lobby", {"type": "first"})
    await layer.group_discard("hub.lobby", other)
    await layer.group_send("hub.lobby", {"type": "second"})
    assert [await layer.receive(one), await layer.receive(one)] == [{"type": "first"}, {"type": "second"}]
    assert await layer.receive(other) == {"type": "first"}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(other), 0)


# From another loop and thread


def received_on(other, layer, channel):
    """A receive that is under way on the other loop: what it gets comes with the future."""
    waiting = threading.Event()

    async def receive():
        asyncio.get_running_loop().call_soon(waiting.set)
        return await layer.receive(channel)

    future = other.submit(receive())
    assert waiting.wait(PATIENCE)
    return future


async def test_a_message_from_another_thread_wakes_the_receiver(layer):
    with OtherLoop() as other:
        channel = await asyncio.wrap_future(other.submit(layer.new_channel()))
        received = received_on(other, layer, channel)
        await layer.send(channel, {"type": "hello"})
        assert await asyncio.to_thread(received.result, PATIENCE) == {"type": "hello"}


async def test_a_group_message_from_another_thread_wakes_the_receiver(layer):
    with OtherLoop() as other:
        channel = await asyncio.wrap_future(other.submit(layer.new_channel()))
        await layer.group_add("hub.lobby", channel)
        received = received_on(other, layer, channel)
        await layer.group_send("hub.lobby", {"type": "hello"})
        assert await asyncio.to_thread(received.result, PATIENCE) == {"type": "hello"}


async def test_another_handle_of_the_same_layer_knows_the_receiver_too():
    with OtherLoop() as other:
        here, there = get_layer(), get_layer()
        channel = await asyncio.wrap_future(other.submit(there.new_channel()))
        received = received_on(other, there, channel)
        await here.send(channel, {"type": "hello"})
        assert await asyncio.to_thread(received.result, PATIENCE) == {"type": "hello"}


async def test_a_full_channel_says_so_to_another_thread(layer):
    with OtherLoop() as other:
        channel = await asyncio.wrap_future(other.submit(layer.new_channel()))
        received = received_on(other, layer, channel)
        await layer.send(channel, {"type": "wakes"})
        await asyncio.to_thread(received.result, PATIENCE)
        for _ in range(2):
            await layer.send(channel, {"type": "waits"})
        with pytest.raises(ChannelFull):
            await layer.send(channel, {"type": "too much"})


async def test_when_the_receivers_loop_has_stopped_the_message_waits_in_the_layer(layer):
    with OtherLoop() as other:
        channel = await asyncio.wrap_future(other.submit(layer.new_channel()))
        received = received_on(other, layer, channel)
        await layer.send(channel, {"type": "hello"})
        await asyncio.to_thread(received.result, PATIENCE)
        other.stop()
        await asyncio.wait_for(layer.send(channel, {"type": "late"}), PATIENCE)
    assert await layer.receive(channel) == {"type": "late"}


# Redis


@pytest.mark.broker
@pytest.mark.parametrize("backend", ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"])
async def test_the_same_calls_work_on_redis(backend):
    async with valkey() as broker:
        hosts = [{"address": broker.env["REDIS_URL"], "socket_timeout": 15}]
        with layers(default={"BACKEND": f"channels_redis.{backend}", "CONFIG": {"hosts": hosts}}):
            layer = get_layer()
            assert not layer.in_memory
            channel = await layer.new_channel()
            await layer.group_add("hub.lobby", channel)
            await layer.send(channel, {"type": "direct"})
            assert (await asyncio.wait_for(layer.receive(channel), PATIENCE))["type"] == "direct"
            await layer.group_send("hub.lobby", {"type": "to all"})
            assert (await asyncio.wait_for(layer.receive(channel), PATIENCE))["type"] == "to all"
            await layer.group_discard("hub.lobby", channel)
            await layer._layer.flush()
            if hasattr(layer._layer, "close_pools"):
                await layer._layer.close_pools()
