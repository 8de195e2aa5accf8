"""The core layer's queues, on a real server: one step, one order, and the broker's clock."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels_redis.core import RedisChannelLayer

from django_hub.queues import Queues
from tests.live.servers import MS, Broker, eventually, valkey

PATIENCE = 5_000 * MS
GROUP = "hub.lobby"

pytestmark = pytest.mark.broker


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with valkey() as broker:
        yield broker


@pytest.fixture
async def layer(broker: Broker) -> AsyncIterator[RedisChannelLayer]:
    layer = RedisChannelLayer(hosts=[broker.url], capacity=3, group_expiry=100)
    yield layer
    await layer.wait_received()
    await layer.close_pools()


@pytest.fixture
def queues(layer: RedisChannelLayer) -> Queues:
    assert Queues.fit(layer)
    return Queues(layer)


async def received(layer: RedisChannelLayer, channel: str, count: int) -> list[Any]:
    async with asyncio.timeout(PATIENCE):
        return [(await layer.receive(channel))["number"] for _ in range(count)]


def parcel(number: int) -> dict[str, Any]:
    return {"type": "parcel", "number": number}


async def one_and_other(layer: RedisChannelLayer) -> list[str]:
    """Two channels that are two processes': their messages wait in queues of their own."""
    one = await layer.new_channel()
    return [one, one.replace("specific.", "specific.2")]


async def test_all_get_a_message_or_nobody_does_yet(layer: RedisChannelLayer, queues: Queues) -> None:
    one, other = await one_and_other(layer)
    for number in range(3):
        assert await queues.put([other], parcel(number), set()) == (True, set())
    both = [one, other]
    assert await queues.put(both, parcel(3), set(both)) == (False, {other})
    assert await queues.put(both, parcel(4), {one}) == (True, {other})
    assert await received(layer, one, 1) == [4]
    assert await received(layer, other, 3) == [0, 1, 2]
    assert await queues.put(both, parcel(5), set(both)) == (True, set())
    assert await received(layer, one, 1) == await received(layer, other, 1) == [5]
    assert await queues.put([], parcel(6), set()) == (True, set())


@pytest.mark.parametrize("ahead", [10.0, -10.0])
async def test_what_comes_later_is_later_by_any_clock(
    layer: RedisChannelLayer, queues: Queues, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    channel = await layer.new_channel()
    now = time.time
    with monkeypatch.context() as fast:
        fast.setattr(time, "time", lambda: now() + ahead)
        await queues.put([channel], parcel(0), set())
        # Somebody else may send to it in the layer's own way, by its own clock.
        if ahead > 0:
            await layer.send(channel, parcel(1))
    await queues.put([channel], parcel(2), set())
    assert await received(layer, channel, 2 + (ahead > 0)) == ([0, 1, 2] if ahead > 0 else [0, 2])


async def test_a_message_that_nobody_took_for_long_goes(broker: Broker) -> None:
    layer = RedisChannelLayer(hosts=[broker.url], capacity=1, expiry=1)
    queues, channel = Queues(layer), await layer.new_channel()
    await queues.put([channel], parcel(0), set())
    assert await queues.put([channel], parcel(1), {channel}) == (False, {channel})

    async def taken() -> bool:
        return (await queues.put([channel], parcel(2), {channel}))[0]

    await eventually(taken)
    assert await received(layer, channel, 1) == [2]
    await layer.wait_received()
    await layer.close_pools()


@pytest.mark.parametrize("ahead", [200.0, -200.0])
async def test_a_group_remembers_by_the_brokers_clock(
    layer: RedisChannelLayer, queues: Queues, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    one, other = await one_and_other(layer)
    now = time.time
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: now() + ahead)
        await queues.group_add(GROUP, one)
        assert await queues.of_group(GROUP) == [one]
    await queues.group_add(GROUP, other)
    assert sorted(await queues.of_group(GROUP)) == sorted([one, other])
    await layer.group_discard(GROUP, one)
    assert await queues.of_group(GROUP) == [other]


async def test_a_group_forgets_what_is_too_old(broker: Broker) -> None:
    layer = RedisChannelLayer(hosts=[broker.url], group_expiry=1)
    queues, (one, other) = Queues(layer), await one_and_other(layer)
    await queues.group_add(GROUP, one)

    async def forgotten() -> bool:
        await queues.group_add(GROUP, other)
        return await queues.of_group(GROUP) == [other]

    await eventually(forgotten)
    await layer.close_pools()


def test_other_layers_do_not_fit() -> None:
    assert not Queues.fit(object())
