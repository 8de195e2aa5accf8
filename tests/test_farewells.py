"""Members are sent away in batches, spread over a time that is never exceeded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from django_hub import closes
from django_hub.events import Joined, Left, Message
from django_hub.farewells import say_farewell
from tests.apps import OpenConsumer, World, websocket_scope
from tests.apps import world as world
from tests.sockets import until


async def farewell(
    members: list[Any], seconds: float, come: dict[int, list[str]] | None = None
) -> list[int]:
    """How many are sent away at once; ``come``: who comes after a batch."""
    batches: list[int] = []
    last = -1.0

    def send_away(member: Any) -> None:
        nonlocal last
        now = asyncio.get_running_loop().time()
        if now > last + 0.01:
            batches.append(0)
            members.extend((come or {}).get(len(batches), []))
        last = now
        batches[-1] += 1
        members.remove(member)

    await say_farewell(members, send_away, seconds)
    return batches


async def test_batches_are_of_one_size_and_end_in_time() -> None:
    begun = asyncio.get_running_loop().time()
    assert await farewell([f"c{number}" for number in range(100)], 0.7) == [34, 33, 33]
    assert 0.6 < asyncio.get_running_loop().time() - begun < 1.2


async def test_a_few_members_do_not_take_the_whole_time() -> None:
    begun = asyncio.get_running_loop().time()
    assert await farewell(["ann", "bob"], 600.0) == [1, 1]
    assert asyncio.get_running_loop().time() - begun < 5


async def test_nobody_takes_no_time() -> None:
    assert await farewell([], 600.0) == []


async def test_who_comes_meanwhile_is_sent_away_too() -> None:
    assert await farewell(["ann", "bob"], 0.5, {1: ["cid", "dan"]}) == [1, 3]


async def test_all_go_at_once_where_there_is_no_time() -> None:
    assert await farewell(["ann", "bob"], 0.01) == [2]


async def test_which_members_go_first_is_drawn_by_lot() -> None:
    order: list[str] = []
    members = [f"c{number}" for number in range(50)]

    def send_away(member: Any) -> None:
        order.append(member)

    await say_farewell(members, send_away, 0.001)  # type: ignore[arg-type]
    assert sorted(order) == sorted(members)
    assert order != members


@pytest.fixture
def drained(settings: Any) -> None:
    settings.DJANGO_HUB = {"DRAIN": 0.5}


async def test_raw_clients_leave_as_shutdown(drained: None, world: World) -> None:
    ann, bob = await world.join("ann"), await world.join("bob")
    draining = asyncio.create_task(world.relay.drain())
    # One of the two goes with the first batch; the other one goes on as usual.
    await until(lambda: len(list(world.relay.fanout)) == 1)
    (left,) = world.relay.fanout
    stays, goes = (ann, bob) if left.client_id == "ann" else (bob, ann)
    assert await goes.close_code() == closes.SERVICE_RESTART
    stays.send_nowait("still here")
    await until(lambda: any(isinstance(event, Message) for event in world.events))
    assert not draining.done()
    assert await stays.close_code() == closes.SERVICE_RESTART
    await draining
    await world.settled()
    told = {(event.client_id, event.reason) for event in world.events if isinstance(event, Left)}
    assert told == {("ann", "shutdown"), ("bob", "shutdown")}


async def test_who_comes_meanwhile_is_told_to_go_elsewhere(drained: None, world: World) -> None:
    await world.relay.drain()
    late = await world.open(OpenConsumer.as_asgi(), websocket_scope("lobby", client_id="late"))
    assert await late.close_code() == closes.SERVICE_RESTART
    assert not [event for event in world.events if isinstance(event, Joined)]
