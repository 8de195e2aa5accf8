"""What is counted, where it happens."""

import asyncio
from typing import Any

import pytest

from django_hub import hub_broadcast
from django_hub.departures import Departure
from django_hub.exceptions import Refused
from django_hub.tallies import Tallies, size, tallies
from tests.apps import FaultyStore, World
from tests.apps import make as make
from tests.apps import store as store
from tests.apps import world as world
from tests.sockets import turns, until


@pytest.fixture
def counted() -> Any:
    """What a tally has grown by since the test began."""
    counters = {"joins", "leaves", "events", "failures", "returns", "reconnects"}
    before = {
        name: getattr(tallies, name).copy() if name in counters else getattr(tallies, name)
        for name in Tallies.__slots__
    }
    return lambda name: getattr(tallies, name) - before[name]


async def test_a_visit_is_counted(world: World, counted: Any) -> None:
    ann, bob = await world.join("ann"), await world.join("bob")
    ann.send_nowait("grüß")
    await until(lambda: any(told[0] == "message" for told in world.told()))
    await world.settled()
    assert counted("joins") == {"new": 2}
    assert (counted("received"), counted("received_bytes")) == (1, 6)
    before, bytes_before = counted("written"), counted("written_bytes")
    await hub_broadcast("lobby", "hello")
    await hub_broadcast("lobby", "é", exclude=["ann"])
    await world.settled()
    assert (counted("written") - before, counted("written_bytes") - bytes_before) == (3, 12)
    bob.disconnect()
    await until(lambda: any(told[0] == "left" for told in world.told()))
    await world.settled()
    assert counted("leaves") == {"close": 1}
    assert {kind: n for (_, kind), n in counted("events").items()} == {"joined": 2, "message": 1, "left": 1}


async def test_only_who_was_a_member_and_is_none_any_more_has_left(make: Any, counted: Any) -> None:
    """Neither who was refused, nor a connection whose client is here with a newer one."""
    ann, bob = make("ann"), make("bob")
    await ann.join()
    bob.connection.most = 1
    with pytest.raises(Refused):
        await bob.join()
    await bob.leave()
    older, newer = make("cid", session="s"), make("cid", session="s")
    await older.join()
    await newer.join()
    await turns(20)
    assert counted("joins") == {"new": 2, "resumed": 1}
    assert counted("leaves") == {}
    await newer.leave(Departure(reason="kicked"))
    assert counted("leaves") == {"kicked": 1}


async def test_who_comes_back_has_not_left_and_leaves_once(make: Any, world: World, counted: Any) -> None:
    cut, late = (make("ann", session="s") for _ in range(2))
    cut.connection.grace = late.connection.grace = 0.05
    await cut.join()
    await cut.leave(Departure(reason="read", code=1006))
    await late.join()
    await until(lambda: len(world.relay.clients) == 1)
    await late.leave()
    assert counted("lost") == 1
    # It had time for that.
    await asyncio.sleep(0.1)
    await world.relay.close()
    assert counted("leaves") == {"close": 1}


async def test_whose_id_is_taken_has_left_as_replaced_once(
    make: Any, store: FaultyStore, counted: Any
) -> None:
    older, newer = make("ann"), make("ann")
    await older.join()
    store.lost = {"apply": 1}
    await newer.join()
    await until(lambda: older.connection.left is not None or older.line.frames)
    await older.leave()
    assert counted("leaves") == {"replaced": 1}


async def test_who_joins_again_was_replaced_by_nobody(
    make: Any, world: World, store: FaultyStore, counted: Any
) -> None:
    ann = make("ann")
    await ann.join()
    await world.relay.clients.join_again(ann.connection, ann.connection.id)
    assert counted("joins") == {"new": 1, "again": 1}
    assert counted("leaves") == {}


def test_bytes_are_counted_and_not_characters() -> None:
    assert [size(data) for data in ("ab", "é", b"\xff\xff")] == [2, 2, 2]
