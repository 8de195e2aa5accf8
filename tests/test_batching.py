"""Batcher: what comes while a call is in flight goes as one."""

import asyncio

import pytest

from django_hub.batching import Batcher, Failed


class Desk:
    """The other side: keeps what it is called with, and answers when it is told to."""

    def __init__(self):
        self.batches = []
        self.calls = asyncio.Semaphore(0)
        self.in_flight = 0
        self.most_in_flight = 0

    def open(self, calls=1000):
        for _ in range(calls):
            self.calls.release()

    async def __call__(self, items):
        self.batches.append(list(items))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self.calls.acquire()
        finally:
            self.in_flight -= 1
        return [("answer to", item) for item in items]


@pytest.fixture
async def desk():
    return Desk()


async def turn():
    """Let every task that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_item_gets_its_result(desk):
    desk.open()
    assert await Batcher(desk).put("a") == ("answer to", "a")


async def test_what_comes_while_a_call_is_in_flight_goes_as_one_in_order(desk):
    batcher = Batcher(desk)
    first = batcher.put(0)
    await turn()
    others = [batcher.put(number) for number in range(1, 6)]
    desk.open()
    assert await asyncio.gather(first, *others) == [("answer to", number) for number in range(6)]
    assert desk.batches == [[0], [1, 2, 3, 4, 5]]


async def test_a_batch_has_no_more_than_it_may(desk):
    desk.open()
    batcher = Batcher(desk, most=3)
    await asyncio.gather(*(batcher.put(number) for number in range(8)))
    assert desk.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_there_is_one_call_after_another(desk):
    desk.open()
    batcher = Batcher(desk, most=1)
    await asyncio.gather(*(batcher.put(number) for number in range(20)))
    assert desk.most_in_flight == 1


async def test_the_length_is_what_waits(desk):
    batcher = Batcher(desk)
    assert len(batcher) == 0
    futures = [batcher.put(1)]
    assert len(batcher) == 1
    await turn()
    assert len(batcher) == 0
    futures += [batcher.put(2), batcher.put(3)]
    assert len(batcher) == 2
    desk.open()
    await asyncio.gather(*futures)
    assert len(batcher) == 0


async def test_a_call_that_fails_fails_its_batch_and_the_next_goes_on():
    async def call(items):
        if "bad" in items:
            raise LookupError("this batch")
        return items

    batcher = Batcher(call, most=2)
    futures = [batcher.put(item) for item in ("good", "bad", "fine", "well")]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(result) for result in results] == [LookupError, LookupError, str, str]
    assert results[2:] == ["fine", "well"]


@pytest.mark.parametrize("fails", [False, True])
async def test_giving_up_a_future_takes_nothing_back_and_hurts_nobody(fails):
    seen = []
    go = asyncio.Event()

    async def call(items):
        seen.extend(items)
        await go.wait()
        if fails:
            raise LookupError
        return items

    batcher = Batcher(call)
    given_up, kept = batcher.put("given up"), batcher.put("kept")
    await turn()
    given_up.cancel()
    go.set()
    await asyncio.wait([kept])
    assert seen == ["given up", "kept"]
    assert isinstance(kept.exception(), LookupError) if fails else kept.result() == "kept"
    await batcher.idle()


async def test_an_item_given_up_while_it_waits_is_still_handed_over(desk):
    batcher = Batcher(desk)
    first = batcher.put("first")
    await turn()
    batcher.put("given up").cancel()
    desk.open()
    await first
    await batcher.idle()
    assert desk.batches == [["first"], ["given up"]]


async def test_no_task_is_left_when_nothing_waits(desk):
    before = asyncio.all_tasks()
    desk.open()
    batcher = Batcher(desk)
    await batcher.put("a")
    await batcher.idle()
    assert asyncio.all_tasks() == before


async def test_idle_waits_for_what_is_in_flight_and_what_waits(desk):
    batcher = Batcher(desk)
    await asyncio.wait_for(batcher.idle(), 1)
    futures = [batcher.put("in flight")]
    await turn()
    futures.append(batcher.put("waits"))
    idle = asyncio.create_task(batcher.idle())
    desk.open(1)
    await futures[0]
    await turn()
    assert not idle.done()
    desk.open(1)
    await idle
    assert all(future.done() for future in futures)


async def test_idle_waits_for_what_was_put_in_by_a_result(desk):
    desk.open()
    batcher = Batcher(desk)
    more = []
    batcher.put("a").add_done_callback(lambda _: more.append(batcher.put("b")))
    await batcher.idle()
    await more[0]
    assert desk.batches == [["a"], ["b"]]


async def test_where_nothing_waits_there_is_nothing_to_be_taken(desk):
    await asyncio.wait_for(Batcher(desk).taken(), 1)


async def test_it_tells_when_some_are_taken(desk):
    batcher = Batcher(desk, most=2)
    futures = [batcher.put(number) for number in range(6)]
    await turn()
    for waiting in (2, 0, 0):
        taken = asyncio.create_task(batcher.taken())
        await turn()
        assert not taken.done()
        desk.open(1)
        await asyncio.wait_for(taken, 5)
        assert len(batcher) == waiting
    await asyncio.gather(*futures)


async def test_one_that_gives_up_waiting_for_room_holds_up_nobody(desk):
    batcher = Batcher(desk, most=1)
    futures = [batcher.put(number) for number in range(3)]
    await turn()
    impatient, patient = (asyncio.create_task(batcher.taken()) for _ in range(2))
    await turn()
    impatient.cancel()
    desk.open()
    await asyncio.wait_for(patient, 5)
    assert await asyncio.gather(*futures)


async def test_a_cancelled_call_gives_up_its_batch_and_what_comes_next_goes_on():
    hang = asyncio.Event()

    async def call(items):
        if "hang" in items:
            hang.set()
            await asyncio.get_running_loop().create_future()
        return items

    batcher = Batcher(call)
    future = batcher.put("hang")
    await hang.wait()
    room = asyncio.create_task(batcher.taken())
    (task,) = asyncio.all_tasks() - {asyncio.current_task(), room}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await future
    await room
    assert await batcher.put("next") == "next"


async def test_what_waits_behind_a_call_that_was_cancelled_is_not_forgotten():
    async def call(items):
        if "cancelled" in items:
            raise asyncio.CancelledError
        return items

    batcher = Batcher(call, most=1)
    first, second = batcher.put("cancelled"), batcher.put("waits")
    done, _ = await asyncio.wait([first, second], timeout=1)
    assert done == {first, second}


async def test_one_item_may_fail_by_itself():
    async def desk(items):
        return [Failed(ValueError(item)) if item == "bad" else item for item in items]

    batcher = Batcher(desk)
    good, bad, given_up, after = (batcher.put(item) for item in ("good", "bad", "bad", "after"))
    given_up.cancel()
    assert await good == "good"
    with pytest.raises(ValueError, match="bad"):
        await bad
    assert await after == "after"


async def test_one_cancelled_before_it_began_is_followed_by_the_next(desk):
    batcher = Batcher(desk)
    given_up = batcher.put("a")
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    task.cancel()
    await turn()
    assert batcher.is_idle
    await asyncio.wait_for(batcher.taken(), 5)
    desk.open()
    await asyncio.wait_for(batcher.put("b"), 5)
    assert given_up.done()
