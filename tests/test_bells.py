"""Bells: wakes through the layer, few and never fatal."""

import logging
from typing import Any

import pytest

from django_hub.bells import WAKE, Bells
from django_hub.layers.base import Layer
from tests.apps import FaultyLayer
from tests.apps import world as world


@pytest.fixture
def layer() -> FaultyLayer:
    return FaultyLayer()


@pytest.fixture
def bells(layer: FaultyLayer) -> Bells:
    return Bells(Layer(layer))


async def rung(layer: FaultyLayer, channel: str) -> list[list[str]]:
    """The hubs of each wake that waits on a channel."""
    wakes = []
    while channel in layer.channels:
        wakes.append(await layer.receive(channel))
    assert all(wake["type"] == WAKE for wake in wakes)
    return [wake["hubs"] for wake in wakes]


async def test_hubs_that_ring_together_make_one_wake(layer: FaultyLayer, bells: Bells) -> None:
    bells.ring([("a", "chat"), ("b", "chat")])
    bells.ring([("c", "chat"), ("a", "chat")])
    await bells.idle()
    assert await rung(layer, "chat") == [["a", "b", "c"]]


async def test_each_channel_has_its_own(layer: FaultyLayer, bells: Bells) -> None:
    bells.ring([("a", "chat"), ("b", "game")])
    await bells.idle()
    assert await rung(layer, "chat") == [["a"]]
    assert await rung(layer, "game") == [["b"]]


async def test_a_wake_has_a_bounded_size(layer: FaultyLayer, bells: Bells) -> None:
    names = [f"hub {number}" for number in range(1200)]
    bells.ring((name, "chat") for name in names)
    await bells.idle()
    wakes = await rung(layer, "chat")
    assert [len(hubs) for hubs in wakes] == [500, 500, 200]
    assert [name for hubs in wakes for name in hubs] == names


async def test_nothing_to_ring(layer: FaultyLayer, bells: Bells) -> None:
    bells.ring([])
    await bells.idle()
    assert layer.calls == []


async def test_a_full_channel_is_no_error(
    layer: FaultyLayer, bells: Bells, caplog: pytest.LogCaptureFixture
) -> None:
    layer.inner.capacity = 1
    bells.ring([("a", "chat")])
    await bells.idle()
    bells.ring([("b", "chat"), ("c", "game")])
    await bells.idle()
    assert await rung(layer, "chat") == [["a"]]
    assert await rung(layer, "game") == [["c"]]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("error", "words"),
    [(ConnectionError, "Not rung on channel chat"), (KeyError, "Could not ring on channel chat")],
)
async def test_a_layer_that_fails_holds_up_no_other_channel(
    layer: FaultyLayer, bells: Bells, error: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    layer.error = error
    layer.fail = {"send": 1}
    bells.ring([("a", "chat"), ("b", "game")])
    await bells.idle()
    assert await rung(layer, "chat") == []
    assert await rung(layer, "game") == [["b"]]
    assert words in caplog.text


async def test_who_hears_is_told_before_the_bell_rings(layer: FaultyLayer, bells: Bells) -> None:
    heard: list[tuple[str, int]] = []
    bells.heard = lambda channel: heard.append((channel, len(layer.calls)))
    bells.ring([("a", "chat"), ("b", "chat"), ("c", "game")])
    await bells.idle()
    assert heard == [("chat", 0), ("game", 1)]
