"""The memory store's logs: what the contract can't see of them."""

import pytest

from django_hub.limits import Limits
from django_hub.stores.memory import MemoryStore
from tests.stores.contract import join, leave
from tests.stores.contract_logs import say_to


class Clock:
    now = 1_900_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    return MemoryStore(Limits(history_ttl=60.0), clock)


def test_publishing_never_suspends(store):
    with pytest.raises(StopIteration) as done:
        store.publish([say_to()]).send(None)
    assert done.value.value[0].seq == 1


async def test_logs_that_are_over_do_not_gather(store, clock):
    for number in range(5000):
        await store.publish([say_to(f"hub {number}")])
        clock.now += 1
    assert len(store._logs) < 200
    assert len(store._logs._round) < 200


async def test_reaping_lets_go_of_logs_that_are_over_a_part_at_a_time(store, clock):
    await store.publish([say_to(f"hub {number}") for number in range(1500)])
    clock.now += 61
    await store.reap()
    assert len(store._logs) == 500
    await store.reap()
    assert len(store._logs) == 0


async def test_reaping_drops_items_of_a_log_that_is_still_asked_for(store, clock):
    await store.publish([say_to()])
    clock.now += 40
    await store.positions(["lobby"])
    clock.now += 30
    await store.reap()
    assert store._logs._logs["lobby", ""].items is None


async def test_logs_of_members_that_come_and_go_do_not_gather(store):
    for number in range(1000):
        name = f"ann-{number}"
        await store.apply([join(connection=name)])
        await store.publish([say_to(client="ann")])
        await store.apply([leave(connection=name)])
    assert len(store._logs) == 1
    assert len(store._logs._round) < 10


async def test_a_hub_that_sends_nothing_has_no_log(store):
    await store.apply([join()])
    await store.positions(["lobby"])
    assert len(store._logs) == 0
