import asyncio

import pytest
from channels.layers import channel_layers
from django.core.exceptions import ImproperlyConfigured

from django_hub.testing import ChaosLayer, HubCommunicator, clean_hubs, drain

RATES = {"drop": 0.2, "double": 0.2, "delay": 0.2, "reorder": 0.2, "late": 0.001}


def layer_of(**config):
    return {"BACKEND": "django_hub.testing.ChaosLayer", "CONFIG": config}


async def came(layer, count, channel="a"):
    return [(await layer.receive(channel))["n"] for _ in range(count)]


async def heard(**rates):
    """What two channels of a group hear of twenty messages to it."""
    layer = ChaosLayer(**rates)
    for channel in ("a", "b"):
        await layer.group_add("g", channel)
    for number in range(20):
        await layer.group_send("g", {"type": "x", "n": number})
    await layer.settle()
    return {c: await came(layer, layer.channels[c].qsize(), c) for c in ("a", "b")}, layer.faults


async def test_without_rates_it_is_the_layer_inside():
    both, faults = await heard()
    assert both == {"a": list(range(20)), "b": list(range(20))}
    assert set(faults.values()) == {0}


async def test_the_same_seed_the_same_faults():
    rates = {**RATES, "late": 1000.0}
    first, faults = await heard(seed=1, **rates)
    assert (first, faults) == await heard(seed=1, **rates)
    assert first != (await heard(seed=2, **rates))[0]
    assert first["a"] != first["b"]
    assert min(faults.values()) > 0


@pytest.mark.parametrize(
    ("rate", "expected"),
    [("drop", []), ("double", [0, 0, 1, 1, 2, 2]), ("reorder", [0, 1, 2])],
)
async def test_each_fault_by_itself(rate, expected):
    layer = ChaosLayer(**{rate: 1.0}, late=0.001)
    for number in range(3):
        await layer.send("a", {"type": "x", "n": number})
    assert await came(layer, len(expected)) == expected
    assert layer.faults[rate] == 3


async def test_out_of_order_is_behind_the_next():
    layer = ChaosLayer(reorder=1.0, late=1000.0)
    await layer.send("a", {"type": "x", "n": 0})
    layer.reorder = 0.0
    await layer.send("a", {"type": "x", "n": 1})
    assert await came(layer, 2) == [1, 0]


async def test_late_is_late_and_not_lost():
    layer = ChaosLayer(delay=1.0, late=0.01)
    await layer.send("a", {"type": "x", "n": 0})
    assert "a" not in layer.channels
    async with asyncio.timeout(5):
        assert await came(layer, 1) == [0]


async def test_what_is_late_for_a_full_channel_is_dropped():
    inner = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 1}}
    layer = ChaosLayer(inner, delay=1.0, late=1000.0)
    for number in range(2):
        await layer.send("a", {"type": "x", "n": number})
    await layer.settle()
    assert layer.faults["drop"] == 1
    layer.delay = 0.0
    await layer.group_add("g", "a")
    await layer.group_send("g", {"type": "x", "n": 9})
    assert len(await came(layer, 1)) == 1


async def test_extensions_of_the_layer_inside_pass_through():
    layer = ChaosLayer(delay=1.0, late=1000.0)
    assert layer.extensions == ["groups", "flush"]
    assert await layer.new_channel("mine.") != await layer.new_channel("mine.")
    assert (await layer.new_channel("mine.")).startswith("mine.")
    assert layer.group_expiry == 86400
    await layer.group_add("g", "a")
    await layer.send("a", {"type": "x"})
    await layer.flush()
    await layer.settle()
    assert (layer.channels, layer.groups) == ({}, {})
    with pytest.raises(AttributeError):
        layer.nothing  # noqa: B018
    with pytest.raises(AttributeError):
        ChaosLayer.__new__(ChaosLayer).inner  # noqa: B018


async def test_a_layer_that_does_not_tell_its_groups_meets_faults_whole():
    layer = ChaosLayer({"BACKEND": "tests.apps.FaultyLayer"}, drop=1.0)
    for channel in ("a", "b"):
        await layer.group_add("g", channel)
    await layer.group_send("g", {"type": "x"})
    assert layer.faults["drop"] == 1


def test_channels_makes_it(settings):
    inner = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 3}}
    settings.CHANNEL_LAYERS = {"default": layer_of(layer=inner, seed=1, drop=0.5)}
    assert channel_layers["default"].inner.capacity == 3


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"drop": 1.5}, "drop is a share from 0 to 1; got 1.5"),
        ({"double": True}, "double is a share"),
        ({"delay": "x"}, "delay is a share"),
        ({"layer": "default"}, "as in CHANNEL_LAYERS"),
        ({"layer": {}}, "as in CHANNEL_LAYERS"),
        ({"layer": {"BACKEND": "no.such.Layer"}}, "can't be imported"),
    ],
)
def test_what_it_refuses(config, match):
    with pytest.raises(ImproperlyConfigured, match=match):
        ChaosLayer(**config)


async def twenty_said(layer):
    """Twenty messages in a hub on this layer, each at both clients, in order."""
    async with (
        clean_hubs(layer),
        HubCommunicator("/ws/rose/?ann", subprotocols=["hub.v1"]) as ann,
        HubCommunicator("/ws/rose/?bob", subprotocols=["hub.v1"]) as bob,
    ):
        for number in range(20):
            await ann.send(f"{number}")
        await drain()
        said = [{"said": f"{number}"} for number in range(20)]
        for client in (ann, bob):
            assert [item for item in client.received() if isinstance(item, dict)] == said
        assert sum(channel_layers["default"].faults.values()) > 0


@pytest.mark.parametrize("seed", range(3))
async def test_hubs_lose_nothing_by_it(seed):
    await twenty_said(layer_of(seed=seed, **RATES))
