"""channels_redis' core layer as hubs use it, on a real server: one step, one order, the broker's clock."""

import asyncio
import contextlib
import time

import pytest
from channels.exceptions import ChannelFull
from channels_redis.core import RedisChannelLayer

from django_hub.exceptions import Damaged, Unavailable
from django_hub.layers import base, core
from django_hub.layers.base import Layer, Target
from django_hub.layers.choice import get_layer
from django_hub.layers.core import CoreLayer
from tests.live.servers import MS, eventually, valkey

PATIENCE = 5_000 * MS
GROUP = "hub.lobby"
EVENTS = "chat-events"

pytestmark = pytest.mark.broker


@contextlib.asynccontextmanager
async def core_layer(broker, **config):
    inner = RedisChannelLayer(hosts=[{"address": broker.url, "socket_timeout": 15}], **config)
    layer = CoreLayer(inner)
    yield layer
    for channel in list(layer._office.taps):
        await layer.stop(channel)
    await inner.wait_received()
    await inner.close_pools()


@pytest.fixture
async def broker():
    async with valkey() as broker:
        yield broker


@pytest.fixture
async def layer(broker):
    async with core_layer(broker, capacity=3, group_expiry=100) as layer:
        yield layer


def parcel(number):
    return {"type": "parcel", "number": number}


async def received(layer, channel, count):
    async with asyncio.timeout(PATIENCE):
        return [(await layer.receive(channel))["number"] for _ in range(count)]


async def waits(layer):
    """Return when somebody waits at the broker for a message."""

    async def blocked():
        return (await layer.layer.connection(0).info("clients"))["blocked_clients"]

    await eventually(blocked)


async def channels(layer, count=2):
    return [await layer.new_channel() for _ in range(count)]


async def deliver(layer, number, *to):
    message = parcel(number)
    return await layer.deliver({Target(channel): message for channel in to})


def test_it_is_known_by_what_is_relied_on(monkeypatch):
    inner = RedisChannelLayer(hosts=["redis://127.0.0.1:1"])
    assert CoreLayer.fits(inner)
    monkeypatch.delattr(RedisChannelLayer, "_group_key")
    assert not CoreLayer.fits(inner)


async def test_without_what_is_relied_on_it_is_used_as_any_other(monkeypatch, settings):
    hosts = ["redis://127.0.0.1:1"]
    backend = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": hosts}}
    monkeypatch.delattr(RedisChannelLayer, "_group_key")
    settings.CHANNEL_LAYERS = {"default": backend}
    assert type(get_layer()) is Layer


# Order


@pytest.mark.parametrize("ahead", [10.0, -10.0])
async def test_what_comes_later_is_later_by_any_clock(layer, monkeypatch, ahead):
    (channel,) = await channels(layer, 1)
    now = time.time
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: now() + ahead)
        await layer.send(channel, parcel(0))
        # Somebody else may send to it in the layer's own way, by its own clock.
        if ahead > 0:
            await layer.layer.send(channel, parcel(1))
    await layer.send(channel, parcel(2))
    assert await received(layer, channel, 2 + (ahead > 0)) == ([0, 1, 2] if ahead > 0 else [0, 2])


async def test_two_senders_are_heard_in_one_order_everywhere(broker):
    async with (
        core_layer(broker, capacity=1000) as one,
        core_layer(broker, capacity=1000) as other,
    ):
        to = await channels(one, 8)
        await asyncio.gather(*(deliver((one, other)[n % 2], n, *to) for n in range(100)))
        heard = [await received(one, channel, 100) for channel in to]
        assert sorted(heard[0]) == list(range(100))
        assert all(each == heard[0] for each in heard)


async def test_each_may_get_another_message(layer):
    one, other = await channels(layer)
    assert await layer.deliver({Target(one): parcel(1), Target(other): parcel(2)}) == {}
    assert await received(layer, one, 1) == [1]
    assert await received(layer, other, 1) == [2]


# Full


async def test_a_full_channel_refuses_exactly_what_is_too_much(layer):
    (channel,) = await channels(layer, 1)
    sent = await asyncio.gather(
        *(layer.send(channel, parcel(number)) for number in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in sent] == [type(None)] * 3 + [ChannelFull] * 2
    assert await received(layer, channel, 3) == [0, 1, 2]
    await layer.send(channel, parcel(5))
    assert await received(layer, channel, 1) == [5]


async def test_all_get_a_message_or_nobody_does_yet(layer):
    one, other = await channels(layer)
    for number in range(3):
        assert await deliver(layer, number, other) == {}
    delivering = asyncio.create_task(deliver(layer, 3, one, other))
    await asyncio.sleep(0.1)
    assert not delivering.done()
    await layer.send(one, parcel(9))
    assert await received(layer, other, 3) == [0, 1, 2]
    assert await delivering == {}
    assert await received(layer, one, 2) == [9, 3]
    assert await received(layer, other, 1) == [3]


async def test_nobody_waits_for_ever_and_nobody_twice(layer, monkeypatch):
    monkeypatch.setattr(core, "PATIENCE", 0.1)
    dead, alive = await channels(layer)
    for number in range(3):
        await layer.send(dead, parcel(number))
    failures = await deliver(layer, 3, dead, alive)
    assert {target.name: type(error) for target, error in failures.items()} == {dead: ChannelFull}
    assert await received(layer, alive, 1) == [3]
    # Until it takes something, it holds up nobody.
    monkeypatch.setattr(core, "PATIENCE", 3600)
    assert list(await deliver(layer, 4, dead, alive)) == [Target(dead)]
    assert await received(layer, dead, 3) == [0, 1, 2]
    assert await deliver(layer, 5, dead, alive) == {}
    assert await received(layer, alive, 2) == [4, 5]


async def test_what_nobody_took_for_long_goes(broker):
    async with core_layer(broker, capacity=1, expiry=1) as layer:
        (channel,) = await channels(layer, 1)
        await layer.send(channel, parcel(0))

        async def taken():
            with contextlib.suppress(ChannelFull):
                await layer.send(channel, parcel(1))
                return True
            return False

        await eventually(taken)
        assert await received(layer, channel, 1) == [1]


# Groups


async def test_the_channels_of_groups(layer):
    one, other = await channels(layer)
    await asyncio.gather(layer.group_add(GROUP, one), layer.group_add("hub.cellar", one))
    await layer.group_add(GROUP, other)
    routes = await layer.routes([GROUP, "hub.cellar", "hub.attic"])
    assert {group: set(names) for group, names in routes.items()} == {
        GROUP: {one, other},
        "hub.cellar": {one},
        "hub.attic": set(),
    }
    await layer.group_discard(GROUP, one)
    assert await layer.routes([GROUP]) == {GROUP: [other]}


@pytest.mark.parametrize("ahead", [200.0, -200.0])
async def test_a_group_remembers_by_the_brokers_clock(layer, monkeypatch, ahead):
    one, other = await channels(layer)
    now = time.time
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: now() + ahead)
        await layer.group_add(GROUP, one)
        assert await layer.routes([GROUP]) == {GROUP: [one]}
    await layer.group_add(GROUP, other)
    assert set((await layer.routes([GROUP]))[GROUP]) == {one, other}


async def test_a_group_forgets_what_is_too_old(broker):
    async with core_layer(broker, group_expiry=1) as layer:
        one, other = await channels(layer)
        await layer.group_add(GROUP, one)

        async def forgotten():
            await layer.group_add(GROUP, other)
            return await layer.routes([GROUP]) == {GROUP: [other]}

        await eventually(forgotten)


async def test_the_dead_are_taken_out_of_groups_and_those_that_are_back_stay(layer):
    dead, back = await channels(layer)
    for channel in (dead, back):
        await layer.group_add(GROUP, channel)
    seconds, microseconds = await layer.layer.connection(0).time()
    died = seconds + microseconds / 1_000_000
    await layer.group_add(GROUP, back)
    for channel in (dead, back):
        await layer.bury(channel, died, [GROUP, "hub.cellar"])
    assert await layer.routes([GROUP]) == {GROUP: [back]}
    await layer.bury("specific.other!1", died, [GROUP])


async def test_a_group_whose_key_is_somebody_elses_is_alone_in_that(layer, caplog):
    (channel,) = await channels(layer, 1)
    await layer.group_add(GROUP, channel)
    await layer.layer.connection(0).set(layer.layer._group_key("hub.cellar"), "not ours")
    assert await layer.routes([GROUP, "hub.cellar"]) == {GROUP: [channel], "hub.cellar": []}
    assert (
        "Broadcasts to hub.cellar reach nobody: The channel layer's broker: something else" in caplog.text
    )
    with pytest.raises(Damaged, match="another prefix"):
        await layer.group_add("hub.cellar", channel)


# Beside others


async def test_stock_senders_and_receivers_share_channels_with_ours(layer):
    await layer.layer.send(EVENTS, parcel(1))
    await layer.send(EVENTS, parcel(2))
    assert await received(layer, EVENTS, 2) == [1, 2]
    await layer.stop(EVENTS)
    await layer.send(EVENTS, parcel(3))
    assert await received(layer.layer, EVENTS, 1) == [3]
    specific = await layer.layer.new_channel()
    await layer.send(specific, parcel(4))
    assert await received(layer.layer, specific, 1) == [4]


async def test_a_receive_that_is_cancelled_loses_nothing(layer):
    for number in range(20):
        receiving = asyncio.create_task(layer.receive(EVENTS))
        sending = asyncio.create_task(layer.send(EVENTS, parcel(number)))
        await asyncio.sleep(number * 0.0005)  # at whatever moment
        receiving.cancel()
        await asyncio.wait([receiving, sending])
        if receiving.cancelled():
            assert await received(layer, EVENTS, 1) == [number]
        else:
            assert receiving.result() == parcel(number)


async def test_who_stops_leaves_what_it_has_not_read_to_others(broker, layer):
    async with core_layer(broker) as other:
        receiving = asyncio.create_task(layer.receive(EVENTS))
        await waits(layer)
        receiving.cancel()
        await asyncio.wait([receiving])
        await layer.send(EVENTS, parcel(1))  # which the one that was cancelled takes
        await layer.stop(EVENTS, [parcel(2), parcel(3)])
        assert sorted(await received(other, EVENTS, 3)) == [1, 2, 3]


async def test_who_stops_leaves_as_much_as_there_is_room_for(layer):
    await layer.send(EVENTS, parcel(0))
    with pytest.raises(Unavailable, match=r"2 of 4 unread messages on chat-events .* ChannelFull"):
        await layer.stop(EVENTS, [parcel(number) for number in (1, 2, 3, 4)])
    assert await received(layer, EVENTS, 3) == [0, 1, 2]


async def test_who_may_not_ask_for_its_clients_id_receives_all_the_same(broker):
    async with core_layer(broker) as layer:
        redis = layer.layer.connection(0)
        await redis.acl_setuser(
            "plain", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-client|id"]
        )
    inner = RedisChannelLayer(hosts=[broker.url.replace("redis://", "redis://plain:any@")])
    layer = CoreLayer(inner)
    await layer.send(EVENTS, parcel(1))
    assert await received(layer, EVENTS, 1) == [1]
    receiving = asyncio.create_task(layer.receive(EVENTS))
    await waits(layer)
    receiving.cancel()
    await asyncio.wait([receiving])
    await layer.stop(EVENTS)
    await inner.close_pools()


async def test_a_relay_that_stops_leaves_nothing(broker, layer):
    (channel,) = await channels(layer, 1)
    receiving = asyncio.create_task(layer.receive(channel))
    await waits(layer)
    receiving.cancel()
    await asyncio.wait([receiving])
    await asyncio.wait_for(layer.stop(channel), base.PATIENCE)
    await layer.stop(channel)
    await layer.send(channel, parcel(1))
    assert await received(layer, channel, 1) == [1]


async def test_a_broker_that_forgot_its_scripts_is_told_them_again(layer):
    (channel,) = await channels(layer, 1)
    for number in range(2):
        await layer.layer.connection(0).script_flush()
        await asyncio.gather(
            layer.group_add(GROUP, channel), layer.send(channel, parcel(number)), layer.routes([GROUP])
        )
        assert await received(layer, channel, 1) == [number]
    assert await layer.routes([GROUP]) == {GROUP: [channel]}


async def test_a_broker_that_is_gone_is_said_to_be(broker, layer):
    (channel,) = await channels(layer, 1)
    receiving = asyncio.create_task(layer.receive(channel))
    await layer.group_add(GROUP, channel)
    broker.kill9()
    await broker.wait()
    with pytest.raises(Unavailable):
        await receiving
    with pytest.raises(Unavailable):
        await layer.send(channel, parcel(1))
    with pytest.raises(Unavailable):
        await layer.routes([GROUP])
    failures = await deliver(layer, 2, channel)
    assert isinstance(failures[Target(channel)], Unavailable)
    await broker.start()
    await layer.send(channel, parcel(3))
    assert await received(layer, channel, 1) == [3]
