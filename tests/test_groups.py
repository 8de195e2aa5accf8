"""Groups: the layer is brought to what is wanted, in the right order, through its failures."""

import asyncio
import time

import pytest
from redis.exceptions import ResponseError

from django_hub.exceptions import Damaged
from django_hub.groups import Groups
from django_hub.layers.base import Layer
from tests.apps import FaultyLayer
from tests.apps import world as world
from tests.sockets import turns, until

US = "specific.us!1"


@pytest.fixture
def layer() -> FaultyLayer:
    return FaultyLayer(group_expiry=3600)


@pytest.fixture
def groups(layer: FaultyLayer) -> Groups:
    return Groups(Layer(layer))


async def test_who_enters_is_in_the_group(layer: FaultyLayer, groups: Groups) -> None:
    await groups.enter("hub.a", US)
    assert list(layer.groups["hub.a"]) == [US]


async def test_entering_again_asks_nothing_of_the_layer(layer: FaultyLayer, groups: Groups) -> None:
    await groups.enter("hub.a", US)
    await groups.enter("hub.a", US)
    assert layer.calls == [("group_add", "hub.a")]


async def test_who_leaves_is_out_of_it(layer: FaultyLayer, groups: Groups) -> None:
    await groups.enter("hub.a", US)
    groups.leave("hub.a")
    await groups.idle()
    assert layer.groups == {}


async def test_it_is_in_as_long_as_more_entered_than_left(layer: FaultyLayer, groups: Groups) -> None:
    for _ in range(3):
        await groups.enter("hub.a", US)
    for _ in range(2):
        groups.leave("hub.a")
    await groups.idle()
    assert list(layer.groups["hub.a"]) == [US]
    groups.leave("hub.a")
    await groups.idle()
    assert layer.groups == {}


async def test_nothing_is_kept_of_groups_left(groups: Groups) -> None:
    for number in range(20):
        await groups.enter(f"hub.{number}", US)
    for number in range(20):
        groups.leave(f"hub.{number}")
    await groups.idle()
    assert groups._groups == {}


async def test_many_enter_at_once_with_one_call(layer: FaultyLayer, groups: Groups) -> None:
    await asyncio.gather(*(groups.enter("hub.a", US) for _ in range(50)))
    assert layer.calls == [("group_add", "hub.a")]


async def test_thousands_at_once_ask_the_layer_for_a_few_at_a_time(
    layer: FaultyLayer, groups: Groups, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way = most = 0

    async def counted(*_: str) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await turns(2)
        under_way -= 1

    monkeypatch.setattr(layer, "group_add", counted)
    monkeypatch.setattr(layer, "group_discard", counted)
    names = [f"hub.{number}" for number in range(2_000)]
    await asyncio.gather(*(groups.enter(name, US) for name in names))
    await groups.refresh()
    for name in names:
        groups.leave(name)
    await groups.idle()
    # A pool of redis-py has a hundred connections, and others want some as well.
    assert 10 < most <= 50


async def test_who_comes_back_while_it_is_taken_out_is_in(layer: FaultyLayer, groups: Groups) -> None:
    await groups.enter("hub.a", US)
    layer.gates["group_discard"] = asyncio.Event()
    groups.leave("hub.a")
    await until(lambda: ("group_discard", "hub.a") in layer.calls)
    back = asyncio.create_task(groups.enter("hub.a", US))
    await turns()
    assert not back.done()
    layer.gates["group_discard"].set()
    await back
    assert list(layer.groups["hub.a"]) == [US]


async def test_who_leaves_while_it_is_added_is_out(layer: FaultyLayer, groups: Groups) -> None:
    layer.gates["group_add"] = asyncio.Event()
    coming = asyncio.create_task(groups.enter("hub.a", US))
    await until(lambda: layer.calls)
    coming.cancel()
    await asyncio.wait([coming])
    groups.leave("hub.a")
    layer.gates["group_add"].set()
    await groups.idle()
    assert layer.groups == {}


async def test_giving_up_an_entry_does_not_stop_it_for_the_others(
    layer: FaultyLayer, groups: Groups
) -> None:
    layer.gates["group_add"] = asyncio.Event()
    first, second = (asyncio.create_task(groups.enter("hub.a", US)) for _ in range(2))
    await until(lambda: layer.calls)
    first.cancel()
    await asyncio.wait([first])
    layer.gates["group_add"].set()
    await second
    assert list(layer.groups["hub.a"]) == [US]


@pytest.mark.parametrize("error", [ConnectionError, KeyError])
async def test_a_layer_that_fails_is_tried_again(
    layer: FaultyLayer, groups: Groups, error: type[Exception]
) -> None:
    layer.error = error
    layer.fail = {"group_add": 2, "group_discard": 2}
    await groups.enter("hub.a", US)
    assert list(layer.groups["hub.a"]) == [US]
    groups.leave("hub.a")
    await groups.idle()
    assert layer.groups == {}


async def test_a_refresh_brings_back_what_the_layer_forgot(layer: FaultyLayer, groups: Groups) -> None:
    for group in ("hub.a", "hub.b"):
        await groups.enter(group, US)
        layer.groups[group][US] = time.time() - 2 * 3600
    layer.inner._clean_expired()
    assert not layer.groups["hub.a"]
    await groups.refresh()
    assert [list(layer.groups[group]) for group in ("hub.a", "hub.b")] == [[US], [US]]


async def test_a_refresh_adds_no_group_that_is_being_left(layer: FaultyLayer, groups: Groups) -> None:
    await groups.enter("hub.a", US)
    groups.leave("hub.a")
    await groups.refresh()
    await groups.idle()
    assert layer.groups == {}


async def test_a_group_that_can_not_be_changed_is_alone_in_that(layer: FaultyLayer, groups: Groups) -> None:
    """Something else has its key: asking again does not help."""
    layer.error = lambda _: ResponseError("WRONGTYPE not a sorted set")  # type: ignore[assignment]
    layer.fail = {"group_add": 1}
    with pytest.raises(Damaged):
        await groups.enter("hub.a", US)
    groups.leave("hub.a")
    await groups.enter("hub.b", US)
    await groups.idle()
    assert set(layer.groups) == {"hub.b"}
    await groups.enter("hub.a", US)  # somebody looked at it
    assert set(layer.groups) == {"hub.a", "hub.b"}
