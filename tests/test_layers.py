"""The calls into Channels' layer: the in-memory one, and Redis' on a real server."""

import asyncio
import contextlib
import subprocess
import sys
import threading

import pytest
from channels.exceptions import ChannelFull
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_hub.layers.base import Layer, Target
from django_hub.layers.choice import get_layer
from tests.live.servers import valkey

IN_MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
# Far above what any of these takes; a message that woke nobody takes the layer's whole patience.
PATIENCE = 20
# What fits into a worker's channel.
CAPACITY = 2
# More than may wait for a relay.
MANY = 200

EVENTS = "chat-events"


def layers(**configured):
    return override_settings(CHANNEL_LAYERS=configured)


@pytest.fixture
def layer():
    with layers(default={**IN_MEMORY, "CONFIG": {"capacity": CAPACITY}}):
        yield get_layer()


class OtherLoop:
    """An event loop that runs in a thread of its own."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def __exit__(self, *_):
        if self.thread.is_alive():
            self.stop()
        self.loop.close()

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    async def run(self, coroutine):
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self.loop))

    async def receive(self, layer, channel):
        """A receive that is under way there: what it gets comes with the future."""
        waiting = threading.Event()

        async def receive():
            asyncio.get_running_loop().call_soon(waiting.set)
            return await layer.receive(channel)

        future = asyncio.run_coroutine_threadsafe(receive(), self.loop)
        assert await asyncio.to_thread(waiting.wait, PATIENCE)
        return asyncio.wait_for(asyncio.wrap_future(future), PATIENCE)


async def to_all(layer, message):
    """As the sender does it."""
    routes = await layer.routes(["hub.lobby"])
    targets = (
        [Target(channel) for channel in routes["hub.lobby"]] if routes else [Target("hub.lobby", True)]
    )
    assert await layer.deliver(dict.fromkeys(targets, message)) == {}


async def nothing_comes(layer, channel):
    task = asyncio.create_task(layer.receive(channel))
    for _ in range(10):
        await asyncio.sleep(0)
    done = task.done()
    task.cancel()
    await asyncio.wait([task])
    return not done


# Which layer


def test_the_layer_is_that_of_the_settings():
    with layers(default=IN_MEMORY, spare={**IN_MEMORY, "CONFIG": {"group_expiry": 7}}):
        assert get_layer().group_expiry == 86400
        with override_settings(DJANGO_HUB={"LAYER": "spare"}):
            assert get_layer().group_expiry == 7


def test_all_of_a_process_have_the_same_layer():
    assert get_layer() is get_layer()


def test_changed_settings_bring_another_layer():
    before = get_layer()
    with layers(default=IN_MEMORY):
        assert get_layer() is not before


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


def test_a_layer_that_is_misspelt_is_an_error_with_both_ways_to_mend_it():
    with layers(default=IN_MEMORY), override_settings(DJANGO_HUB={"LAYER": "hubs"}):
        with pytest.raises(ImproperlyConfigured, match=r"Name one in DJANGO_HUB\['LAYER'\]") as caught:
            get_layer()
        namespace = {}
        exec(str(caught.value).rpartition("settings.py:\n")[2].strip(), namespace)
        with override_settings(CHANNEL_LAYERS=namespace["CHANNEL_LAYERS"]):
            assert get_layer().in_memory


def test_a_layer_that_does_not_say_when_groups_expire_keeps_them_a_day():
    class Bare:
        pass

    assert Layer(Bare()).group_expiry == 86400


def test_the_in_memory_layer_needs_no_redis():
    """Redis is an extra: who has none installed has only this layer."""
    code = """
import sys
for name in ("redis", "channels_redis", "uvloop", "daphne", "uvicorn", "twisted"):
    sys.modules[name] = None
import django, django.conf
django.conf.settings.configure(
    INSTALLED_APPS=["django_hub", "channels"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()
import django_hub, django_hub.management.commands.runworker
from django_hub.layers.choice import get_layer
assert get_layer().in_memory
from django_hub.sync import hub_broadcast, hub_members
hub_broadcast("lobby", "hello")
assert list(hub_members()) == []
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


# A worker's channel


async def test_what_is_sent_to_a_worker_is_received(layer):
    for number in range(5):
        await layer.send(EVENTS, {"type": "hello", "number": number})
        assert await layer.receive(EVENTS) == {"type": "hello", "number": number}


async def test_a_workers_channel_that_is_full_says_so(layer):
    for _ in range(CAPACITY):
        await layer.send(EVENTS, {"type": "hello"})
    with pytest.raises(ChannelFull):
        await layer.send(EVENTS, {"type": "hello"})


async def test_the_projects_own_messages_to_a_worker_arrive_too(layer):
    await layer.layer.send(EVENTS, {"type": "own"})
    assert await layer.receive(EVENTS) == {"type": "own"}


async def test_a_message_from_another_thread_wakes_the_worker(layer):
    with OtherLoop() as other:
        received = await other.receive(layer, EVENTS)
        await layer.send(EVENTS, {"type": "hello"})
        assert await received == {"type": "hello"}


async def test_a_full_channel_says_so_to_another_thread(layer):
    with OtherLoop() as other:
        received = await other.receive(layer, EVENTS)
        await layer.send(EVENTS, {"type": "wakes"})
        await received
        for _ in range(CAPACITY):
            await layer.send(EVENTS, {"type": "waits"})
        with pytest.raises(ChannelFull):
            await layer.send(EVENTS, {"type": "too much"})


async def test_when_the_workers_loop_has_stopped_the_message_waits_for_the_next(layer):
    with OtherLoop() as other:
        received = await other.receive(layer, EVENTS)
        await layer.send(EVENTS, {"type": "hello"})
        await received
        other.stop()
        await asyncio.wait_for(layer.send(EVENTS, {"type": "late"}), PATIENCE)
    assert await layer.receive(EVENTS) == {"type": "late"}


async def test_a_worker_of_a_loop_that_is_gone_is_followed_by_one_of_this(layer):
    with OtherLoop() as other:
        received = await other.receive(layer, EVENTS)
        await layer.send(EVENTS, {"type": "hello"})
        await received
    await layer.send(EVENTS, {"type": "again"})
    assert await layer.receive(EVENTS) == {"type": "again"}


# A relay's channel


async def test_each_relay_has_a_channel_of_its_own(layer):
    assert await layer.new_channel() != await layer.new_channel()


async def test_what_is_sent_to_a_relay_is_received_in_order(layer):
    channel = await layer.new_channel()
    for number in range(10):
        await layer.send(channel, {"type": "parcel", "number": number})
    assert [(await layer.receive(channel))["number"] for _ in range(10)] == list(range(10))


async def test_a_relay_that_waits_is_woken(layer):
    channel = await layer.new_channel()
    received = asyncio.create_task(layer.receive(channel))
    await asyncio.sleep(0)
    await layer.send(channel, {"type": "parcel"})
    assert await received == {"type": "parcel"}


async def test_a_receive_that_is_cancelled_loses_nothing(layer):
    channel = await layer.new_channel()
    assert await nothing_comes(layer, channel)
    await layer.send(channel, {"type": "parcel"})
    assert await layer.receive(channel) == {"type": "parcel"}


async def test_a_group_reaches_those_in_it_until_they_leave(layer):
    one, other = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("hub.lobby", one)
    await layer.group_add("hub.lobby", other)
    await to_all(layer, {"type": "first"})
    await layer.group_discard("hub.lobby", other)
    await to_all(layer, {"type": "second"})
    assert [await layer.receive(one), await layer.receive(one)] == [{"type": "first"}, {"type": "second"}]
    assert await layer.receive(other) == {"type": "first"}
    assert await nothing_comes(layer, other)


async def test_one_that_is_in_a_group_twice_hears_it_once(layer):
    channel = await layer.new_channel()
    await layer.group_add("hub.lobby", channel)
    await layer.group_add("hub.lobby", channel)
    await to_all(layer, {"type": "parcel"})
    assert await layer.receive(channel) == {"type": "parcel"}
    assert await nothing_comes(layer, channel)


async def test_leaving_a_group_that_is_not_there_does_nothing(layer):
    await layer.group_discard("hub.lobby", await layer.new_channel())
    await to_all(layer, {"type": "parcel"})


async def test_a_sender_waits_while_a_relay_has_too_much_to_do_and_nothing_is_dropped(layer):
    channel = await layer.new_channel()
    await layer.group_add("hub.lobby", channel)

    async def send_all():
        for number in range(MANY):
            await to_all(layer, {"type": "parcel", "number": number})

    sending = asyncio.create_task(send_all())
    for _ in range(2 * MANY):
        await asyncio.sleep(0)
    assert not sending.done()
    assert [(await layer.receive(channel))["number"] for _ in range(MANY)] == list(range(MANY))
    await sending


async def test_a_dropped_channel_holds_up_nobody(layer):
    channel = await layer.new_channel()
    await layer.group_add("hub.lobby", channel)

    async def send_all():
        for _ in range(MANY):
            await to_all(layer, {"type": "parcel"})

    sending = asyncio.create_task(send_all())
    for _ in range(2 * MANY):
        await asyncio.sleep(0)
    await layer.stop(channel)
    await asyncio.wait_for(sending, PATIENCE)
    await layer.send(channel, {"type": "parcel"})
    await layer.stop(channel)


@pytest.mark.parametrize("to", ["relay", "group"])
async def test_a_parcel_from_another_thread_wakes_the_relay(layer, to):
    with OtherLoop() as other:
        channel = await other.run(layer.new_channel())
        await layer.group_add("hub.lobby", channel)
        received = await other.receive(layer, channel)
        if to == "relay":
            await layer.send(channel, {"type": "parcel"})
        else:
            await to_all(layer, {"type": "parcel"})
        assert await received == {"type": "parcel"}


async def test_a_relay_whose_loop_is_gone_holds_up_nobody(layer):
    here = await layer.new_channel()
    with OtherLoop() as other:
        there = await other.run(layer.new_channel())
        await layer.group_add("hub.lobby", there)
        await layer.group_add("hub.lobby", here)
    await asyncio.wait_for(to_all(layer, {"type": "parcel"}), PATIENCE)
    assert await layer.receive(here) == {"type": "parcel"}


async def test_a_relay_whose_loop_has_stopped_holds_up_nobody(layer):
    here = await layer.new_channel()
    with OtherLoop() as other:
        there = await other.run(layer.new_channel())
        await layer.group_add("hub.lobby", there)
        await layer.group_add("hub.lobby", here)
        other.stop()
        await asyncio.wait_for(to_all(layer, {"type": "parcel"}), PATIENCE / 10)
        assert await layer.receive(here) == {"type": "parcel"}


# Redis

BACKENDS = ["core.RedisChannelLayer", "pubsub.RedisPubSubChannelLayer"]


@contextlib.asynccontextmanager
async def redis_layer(backend, **config):
    async with valkey() as broker:
        hosts = [{"address": broker.url, "socket_timeout": 15}]
        config = {"hosts": hosts, **config}
        with layers(default={"BACKEND": f"channels_redis.{backend}", "CONFIG": config}):
            layer = get_layer()
            yield layer
            await layer.layer.flush()
            if hasattr(layer.layer, "close_pools"):
                await layer.layer.close_pools()


def received(layer, channel):
    return asyncio.wait_for(layer.receive(channel), PATIENCE)


@pytest.mark.broker
@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_same_calls_work_on_redis(backend):
    async with redis_layer(backend) as layer:
        assert not layer.in_memory
        channel = await layer.new_channel()
        await layer.group_add("hub.lobby", channel)
        await layer.send(channel, {"type": "direct"})
        assert (await received(layer, channel))["type"] == "direct"
        await to_all(layer, {"type": "to all"})
        assert (await received(layer, channel))["type"] == "to all"
        await layer.group_discard("hub.lobby", channel)
        await layer.stop(channel)
