"""One hub's order by itself; `tests/test_ordering.py` has it with all that a layer and a store do to it."""

import asyncio

import pytest

from django_hub import orders as module
from django_hub.entries import Entry, Scope, to_item
from django_hub.exceptions import Unavailable
from django_hub.fanout import Fanout
from django_hub.orders import Order
from django_hub.stores.ops import Number, Publication
from django_hub.tasks import Tasks
from tests.apps import FaultyStore, Line, make_connection
from tests.apps import world as world
from tests.sockets import turns, until


class Place:
    """An order, and the one client that is there to hear it."""

    def __init__(self) -> None:
        self.store = FaultyStore()
        self.fanout = Fanout()
        self.tasks = Tasks()
        self.line = Line()
        self.fanout.add(make_connection(line=self.line))
        self.order = Order("lobby", self.store, self.fanout, self.tasks)

    async def publish(self, *texts: str) -> list[Entry]:
        items = [Publication(hub="lobby", item=to_item(Entry("lobby", t)), id=t) for t in texts]
        numbers = await self.store.publish(items)
        return [Entry("lobby", t, epoch=n.epoch, seq=n.seq) for t, n in zip(texts, numbers, strict=True)]

    def put(self, *entries: Entry) -> list[Entry]:
        ready: list[Entry] = []
        for entry in entries:
            self.order.put(entry, ready)
        return ready


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(module, "_LATE", 0.005)
    return Place()


async def test_what_goes_on_at_once_is_given_back_and_what_came_late_is_written(place: Place) -> None:
    one, two, three = await place.publish("1", "2", "3")
    assert (place.order.at, place.order.epoch) == (None, "")
    place.order.begin(Number(one.epoch, 0))
    assert (place.order.at, place.order.epoch) == (0, one.epoch)
    assert place.put(one) == [one]
    assert place.put(three) == []
    assert place.put(two) == [two, three]
    (_, five) = await place.publish("4", "5")
    assert place.put(five) == []
    await place.tasks.idle()
    await place.fanout.idle()
    assert place.line.frames == ["4", "5"]  # what was given back is for who asked
    assert place.order.at == 5


def swallow(place: Place) -> list[int]:
    """The store's next reads of history swallow that they are cancelled, as redis-py does at times."""
    history, asked, gate = place.store.history, [], asyncio.Event()

    async def stubborn(hub: str, after: int) -> object:
        asked.append(after)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            await turns()
        return await history(hub, after)

    place.store.history = stubborn  # type: ignore[assignment]
    return asked


async def test_one_that_is_over_does_not_say_where_the_log_is(place: Place) -> None:
    """Who comes next would be taken to have heard all up to there."""
    await place.publish("1")
    asked = swallow(place)
    settling = asyncio.create_task(place.order.settle())
    await until(lambda: asked)
    place.order.end()
    await settling
    await asyncio.wait_for(place.tasks.idle(), 5)
    assert place.fanout.position("lobby") is None


async def test_one_that_is_over_asks_for_nothing_and_writes_nothing(place: Place) -> None:
    one, _, three = await place.publish("1", "2", "3")
    place.order.begin(Number(one.epoch, 0))
    place.put(one, three)
    asked = swallow(place)
    await until(lambda: asked)
    place.order.end()
    await asyncio.wait_for(place.tasks.idle(), 5)
    await place.fanout.idle()
    assert (asked, place.line.frames) == ([1], [])
    place.order.look(Number(one.epoch, 9), 1)
    assert len(place.tasks) == 0


async def test_what_is_asked_for_while_the_store_is_away_ends_with_it(place: Place) -> None:
    one, _, three = await place.publish("1", "2", "3")
    place.store.fail["history"] = [Unavailable("gone")] * 1000
    place.order.begin(Number(one.epoch, 0))
    place.put(one, three)
    await until(lambda: "history" in place.store.calls)
    assert len(place.tasks) == 1
    place.order.end()
    await asyncio.wait_for(place.tasks.idle(), 5)


async def test_a_clients_own_is_not_kept_when_it_is_gone(place: Place) -> None:
    place.order.begin(Number("e", 0))
    nobody = Entry("lobby", "hi", Scope.ONLY, ("s",), seq=1)
    assert place.put(nobody) == []
    place.fanout.add(make_connection("bob", session="s"))
    assert place.put(nobody) == [nobody]
    assert place.put(nobody) == []
    place.order.forget_client("s")
    assert place.put(nobody) == [nobody]
    place.order.end()
    await place.tasks.idle()
