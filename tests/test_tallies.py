"""What is counted, where it happens."""

from typing import Any

import pytest

from django_hub import hub_broadcast
from django_hub.tallies import Tallies, size, tallies
from tests.apps import World
from tests.apps import world as world
from tests.sockets import until


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


def test_bytes_are_counted_and_not_characters() -> None:
    assert [size(data) for data in ("ab", "é", b"\xff\xff")] == [2, 2, 2]
