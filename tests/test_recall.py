"""What was said of late, read once for all who come back."""

import asyncio

import pytest

from django_hub import recall as module
from django_hub.entries import Entry, to_item
from django_hub.exceptions import Unavailable
from django_hub.recall import Recall
from django_hub.stores.ops import Publication
from django_hub.tasks import Tasks
from tests.apps import FaultyStore
from tests.sockets import turns, until


async def published(store, *texts):
    items = [Publication(hub="lobby", item=to_item(Entry("lobby", text)), id=text) for text in texts]
    numbers = await store.publish(items)
    return [Entry("lobby", text, epoch=n.epoch, seq=n.seq) for text, n in zip(texts, numbers, strict=True)]


def answers_late(store, monkeypatch):
    """Until the event is set, what was read of a history waits."""
    read, gate = store.history, asyncio.Event()

    async def history(hub, after):
        found = await read(hub, after)
        await gate.wait()
        return found

    monkeypatch.setattr(store, "history", history)
    return gate


async def test_many_ask_and_the_store_is_read_once():
    store, tasks = FaultyStore(), Tasks()
    recall = Recall("lobby", store, tasks)
    entries = await published(store, "1", "2", "3")
    assert not recall.is_kept
    epoch = entries[0].epoch
    answers = await asyncio.gather(*(recall.between(epoch, seq, 3) for seq in range(4)))
    assert answers == [entries, entries[1:], entries[2:], []]
    (four,) = await published(store, "4")
    recall.passed(four)
    assert await recall.between(epoch, 2, 4) == [entries[2], four]
    assert await recall.between(epoch, 2, 5) is None
    assert store.calls.count("history") == 1
    await tasks.idle()


async def test_who_heard_more_elsewhere_has_missed_nothing():
    """Another server's clients may hear a broadcast sooner than ours."""
    store = FaultyStore()
    recall = Recall("lobby", store, Tasks())
    (one,) = await published(store, "1")
    assert await recall.between(one.epoch, 1, 1) == []
    two, three = await published(store, "2", "3")
    answers = await asyncio.gather(*(recall.between(one.epoch, 3, 1) for _ in range(5)))
    assert answers == [[]] * 5
    assert store.calls.count("history") == 2
    recall.passed(two)
    recall.passed(three)
    assert await recall.between(one.epoch, 1, 3) == [two, three]
    assert store.calls.count("history") == 2
    # Nobody has said so much: what it claims is not believed.
    assert await recall.between(one.epoch, 9, 3) is None


async def test_a_reading_that_was_under_way_before_may_not_know_it_yet(monkeypatch):
    store = FaultyStore()
    recall, gate = Recall("lobby", store, Tasks()), answers_late(store, monkeypatch)
    (one,) = await published(store, "1")
    first = asyncio.create_task(recall.between(one.epoch, 0, 1))
    await turns()
    await published(store, "2")
    second = asyncio.create_task(recall.between(one.epoch, 2, 1))
    await turns()
    gate.set()
    assert (await first, await second) == ([one], [])


async def test_who_claims_more_than_there_is_asks_no_more_however_many_do(monkeypatch):
    """One that comes between the end of a reading and those who waited for it begins another."""
    store = FaultyStore()
    recall, read = Recall("lobby", store, Tasks()), store.history
    (one,) = await published(store, "1")
    loop, second = asyncio.get_running_loop(), []

    def come():
        second.append(asyncio.create_task(recall.between(one.epoch, 9, 1)))

    async def met(hub, after):
        if store.calls.count("history") == 1:
            loop.call_soon(come)
        return await read(hub, after)

    monkeypatch.setattr(store, "history", met)
    assert await asyncio.wait_for(recall.between(one.epoch, 9, 1), 5) is None
    assert await asyncio.wait_for(second[0], 5) is None
    assert store.calls.count("history") <= 4


async def test_however_often_it_is_read_one_timer_waits(monkeypatch):
    timers, loop = [], asyncio.get_running_loop()
    call_at = loop.call_at

    def noted(when, callback, *args, **more):
        timers.append((callback, call_at(when, callback, *args, **more)))
        return timers[-1][1]

    monkeypatch.setattr(loop, "call_at", noted)
    recall = Recall("lobby", store := FaultyStore(), Tasks())
    (one,) = await published(store, "1")
    for _ in range(3):
        assert await recall.between(one.epoch, 9, 1) is None
    assert store.calls.count("history") > 3
    assert [callback for callback, _ in timers].count(recall._keep) == 1


async def test_what_passes_while_it_reads_is_not_missing(monkeypatch):
    store = FaultyStore()
    recall, gate = Recall("lobby", store, Tasks()), answers_late(store, monkeypatch)
    (one,) = await published(store, "1")
    asking = asyncio.create_task(recall.between(one.epoch, 0, 2))
    await turns()
    (two,) = await published(store, "2")
    recall.passed(two)
    gate.set()
    assert await asking == [one, two]


async def test_where_reading_failed_the_next_reads_again():
    store = FaultyStore()
    recall = Recall("lobby", store, Tasks())
    (one,) = await published(store, "1")
    store.fail["history"] = [Unavailable("gone")]
    with pytest.raises(Unavailable):
        await recall.between(one.epoch, 0, 1)
    assert not recall.is_kept
    assert await recall.between(one.epoch, 0, 1) == [one]


async def test_what_is_not_used_is_dropped(monkeypatch):
    monkeypatch.setattr(module, "_KEPT", 0.005)
    store = FaultyStore()
    recall = Recall("lobby", store, Tasks())
    (one,) = await published(store, "1")
    await recall.between(one.epoch, 0, 1)
    await until(lambda: not recall.is_kept)
    assert await recall.between(one.epoch, 0, 1) == [one]


async def test_at_its_end_nothing_is_kept_and_who_waits_is_told(monkeypatch):
    store, tasks, gate = FaultyStore(), Tasks(), asyncio.Event()
    read = store.history

    async def slow(hub, after):
        await gate.wait()
        return await read(hub, after)

    recall = Recall("lobby", store, tasks)
    (one,) = await published(store, "1")
    await recall.between(one.epoch, 0, 1)
    recall.end()
    assert not recall.is_kept
    monkeypatch.setattr(store, "history", slow)
    recall = Recall("lobby", store, tasks)
    asking = asyncio.create_task(recall.between(one.epoch, 0, 1))
    await turns()
    recall.end()
    assert await asyncio.wait_for(asking, 5) is None
    assert not recall.is_kept
    await asyncio.wait_for(tasks.idle(), 5)
