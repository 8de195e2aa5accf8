"""What only the memory store promises: any thread may call it, and an idle hub costs next to nothing."""

import asyncio
import gc
import sys
import threading
import time
import tracemalloc

import pytest

from django_hub.limits import Limits
from django_hub.stores.memory import MemoryStore
from django_hub.stores.ops import Commit, DeadLetter, Lease
from tests.stores.contract import all_hubs, all_members, drain, join, leave, post

HUBS = 10_000
BYTES_AN_IDLE_HUB = 1024


@pytest.fixture(autouse=True)
def threads_that_take_turns_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.00001)
    yield
    sys.setswitchinterval(before)


def run_in_threads(*functions):
    """Each coroutine function on a loop in a thread of its own, all at once; raises what they raised."""
    ready = threading.Barrier(len(functions))
    failures = []

    def run(function):
        try:
            ready.wait(30)
            asyncio.run(function())
        except BaseException as error:  # noqa: BLE001 (it is raised below)
            failures.append(error)

    threads = [threading.Thread(target=run, args=[function], daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure


def is_empty(store):
    """Nothing is left in any of its indexes but processes that joined or beat."""
    indexes = {name: value for name, value in vars(store).items() if isinstance(value, (dict, set))}
    return not any(index for name, index in indexes.items() if name != "_processes")


def test_without_limits_it_has_the_usual_ones():
    assert MemoryStore().limits == Limits()


async def test_its_clock_is_the_time_of_day():
    store = MemoryStore()
    await store.apply([join()])
    (event,) = await drain(store)
    assert abs(event.id / 1_000_000 - time.time()) < 60


async def test_positions_rise_also_when_the_clock_is_set_back():
    times = iter([1000.0, 1000.0, 1000.0, 500.0, 500.0])
    store = MemoryStore(clock=lambda: next(times, 500.0))
    await store.apply([join(), post(1)])
    await store.apply([post(2), post(3), leave()])
    ids = [event.id for event in await drain(store)]
    assert ids == sorted(set(ids))


async def test_positions_of_a_later_process_are_above_those_of_an_earlier_one():
    """A handler's memory of the last id outlives the process."""
    first, second = MemoryStore(clock=lambda: 1000.0), MemoryStore(clock=lambda: 1001.0)
    for store in (first, second):
        await store.apply([join(), post(1)])
    assert (await drain(first))[-1].id < (await drain(second))[0].id


def test_threads_that_join_post_and_leave_lose_nothing():
    store = MemoryStore(Limits(mailbox=1_000_000))
    threads, rounds = 8, 50

    def life_of(client):
        async def live():
            for number in range(rounds):
                connection = f"{client} {number}"
                await store.apply([join(client=client, connection=connection, process=client)])
                await store.apply([post(1, client=client, connection=connection)])
                await store.apply([leave(client=client, connection=connection)])

        return live

    run_in_threads(*(life_of(f"c{number}") for number in range(threads)))
    events = asyncio.run(drain(store))
    assert len(events) == threads * rounds * 3
    assert len({event.id for event in events}) == len(events)
    for client in {event.client_id for event in events}:
        kinds = [type(event).__name__ for event in events if event.client_id == client]
        assert kinds == ["Joined", "Message", "Left"] * rounds
    assert is_empty(store)


def test_threads_that_want_the_same_id_replace_each_other_one_by_one():
    store = MemoryStore(Limits(mailbox=1_000_000))

    def life_of(thread):
        async def live():
            for number in range(100):
                await store.apply([join(connection=f"{thread} {number}", process=f"p{thread}")])

        return live

    run_in_threads(*(life_of(number) for number in range(6)))
    events = [type(event).__name__ for event in asyncio.run(drain(store))]
    assert events == ["Joined", *["Left", "Joined"] * 599]
    assert asyncio.run(store.count("lobby")) == 1


def test_threads_that_claim_and_commit_handle_each_event_once_in_order():
    store = MemoryStore(Limits(batch=3, mailbox=1_000_000))
    hubs, clients, messages = 4, 3, 60
    handled = {f"hub {number}": [] for number in range(hubs)}
    wanted = hubs * clients * (messages + 1)

    def client(name):
        async def live():
            for hub in handled:
                await store.apply([join(hub, client=name)])
            for number in range(1, messages + 1):
                for hub in handled:
                    await store.apply([post(number, hub, client=name)])

        return live

    def worker(name):
        async def work():
            while sum(map(len, handled.values())) < wanted:
                for held in await store.claim(list(handled), name):
                    claim = held
                    while claim.lease is Lease.HELD:
                        handled[claim.hub].extend(claim.batch)
                        claim = await drained(claim)
                await asyncio.sleep(0)

        async def drained(claim):
            (answer,) = await store.commit([Commit(claim.hub, claim.token, claim.batch[-1].position)])
            return answer

        return work

    run_in_threads(
        *(client(f"c{number}") for number in range(clients)), *(worker(f"w{number}") for number in range(3))
    )
    for letters in handled.values():
        positions = [letter.position for letter in letters]
        assert positions == sorted(set(positions))
        assert len(letters) == clients * (messages + 1)


def test_threads_may_read_while_others_write():
    store = MemoryStore()
    done = threading.Event()

    async def write():
        try:
            for number in range(300):
                hub, client = f"hub {number % 7}", f"c{number % 11}"
                await store.apply(
                    [join(hub, client=client, connection=f"{number}", process=f"p{number % 3}")]
                )
                await store.create(f"named {number}", None)
                await store.destroy(f"named {number}")
                await store.apply([leave(hub, client=client, connection=f"{number}")])
                await drain(store, hub, "writer")
        finally:
            done.set()

    async def look():
        while not done.is_set():
            for record in await all_hubs(store, 3):
                for member in await all_members(store, record.name, 2):
                    assert member.hub == record.name
                assert await store.count(record.name) >= 0
            await store.find("c1")
            await store.unclaimed()
            await store.reap()
            await store.beat("looker")

    run_in_threads(write, look, look)


async def test_a_store_in_which_all_have_left_keeps_nothing():
    store = MemoryStore()
    for number in range(50):
        await store.apply([join(f"hub {number}", client=f"c{number}", process=f"p{number % 5}")])
    for number in range(50):
        await store.apply([leave(f"hub {number}", client=f"c{number}")])
        await drain(store, f"hub {number}")
    assert is_empty(store)


async def test_processes_that_are_heard_of_no_more_are_forgotten():
    now = 1000.0
    store = MemoryStore(clock=lambda: now)
    for number in range(50):
        await store.beat(f"p{number}")
    now += store.limits.process_lease + 1
    await store.reap()
    assert not store._processes


async def test_dead_letters_past_their_time_are_forgotten_without_anybody_asking():
    now = 1000.0
    store = MemoryStore(clock=lambda: now)
    await store.apply([join()])
    (held,) = await store.claim(["lobby"], "w1")
    position = held.batch[0].position
    letter = DeadLetter(hub="lobby", position=position, body="", error="", at=now)
    await store.commit([Commit("lobby", held.token, position, (letter,))])
    now += store.limits.dead_letter_ttl + 1
    await store.reap()
    assert not store._dead


async def bytes_kept_by(action):
    """The memory that is held when the action is done and was not before."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await action
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


async def test_an_idle_hub_of_one_member_costs_at_most_a_kibibyte():
    """What the caller gave (names, ids, texts) is made before, and not counted."""
    joins = [join(f"hub {number}", client=f"client {number}") for number in range(HUBS)]
    store = MemoryStore()

    async def join_all():
        for op in joins:
            await store.apply([op])
            await drain(store, op.hub)

    bytes_each = await bytes_kept_by(join_all()) / HUBS
    assert await store.waiting() == 0
    assert bytes_each <= BYTES_AN_IDLE_HUB


async def test_a_further_member_of_an_idle_hub_costs_at_most_as_much():
    joins = [join(client=f"client {number}") for number in range(HUBS)]
    store = MemoryStore(Limits(batch=1000, mailbox=HUBS))

    async def join_all():
        await store.apply(joins)
        await drain(store)

    bytes_each = await bytes_kept_by(join_all()) / HUBS
    assert bytes_each <= BYTES_AN_IDLE_HUB


async def test_an_idle_hub_has_no_mailbox_and_no_lease():
    store = MemoryStore()
    await store.apply([join()])
    await drain(store)
    hub = store._hubs["lobby"]
    assert (hub.mail, hub.held) == (None, None)


async def test_the_store_runs_no_task():
    before = asyncio.all_tasks()
    store = MemoryStore()
    await store.apply([join()])
    await store.beat("p1")
    assert asyncio.all_tasks() == before


async def test_dead_letters_of_ever_new_hubs_do_not_fill_the_memory():
    """Whoever may name a hub can make its handler fail: the hubs that failed longest ago are forgotten."""
    store = MemoryStore()
    for number in range(150):
        name = f"h{number}"
        await store.apply([join(name)])
        (held,) = await store.claim([name], "w1")
        position = held.batch[-1].position
        dead = DeadLetter(hub=name, position=position, body="[]", error="failed", at=time.time())
        await store.commit([Commit(name, held.token, position, (dead,))])
    assert await store.dead_letters("h0") == []
    assert [letter.hub for letter in await store.dead_letters("h149")] == ["h149"]
