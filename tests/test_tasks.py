"""Tasks: work that is kept until it is done."""

import asyncio
import contextvars

import pytest

from django_hub.tasks import Tasks, outcome
from tests.sockets import turns

_of_the_first = contextvars.ContextVar("of the first", default="nobody")


async def test_what_is_under_way_is_known_and_waited_for():
    tasks, gate, done = Tasks(), asyncio.Event(), []

    async def work():
        await gate.wait()
        done.append("one")
        if len(done) == 1:
            tasks.begin(work())

    tasks.begin(work())
    idle = asyncio.create_task(tasks.idle())
    await turns()
    assert (len(tasks), idle.done()) == (1, False)
    gate.set()
    await idle
    assert (len(tasks), done) == (0, ["one", "one"])


async def test_each_is_in_a_context_of_its_own():
    seen = []

    async def work():
        seen.append(_of_the_first.get())

    _of_the_first.set("ann")
    await Tasks().begin(work())
    assert seen == ["nobody"]


async def test_all_who_wait_for_one_have_its_outcome():
    async def fails():
        raise KeyError("bug")

    tasks = Tasks()
    task = tasks.begin(fails())
    for _ in range(2):
        with pytest.raises(KeyError):
            await outcome(task)
    task = tasks.begin(asyncio.Event().wait())
    task.cancel()
    await outcome(task)
    assert task.cancelled()


async def test_who_gives_up_waiting_takes_nothing_back():
    gate = asyncio.Event()
    task = Tasks().begin(gate.wait())
    waiting = asyncio.create_task(outcome(task))
    await turns()
    waiting.cancel()
    await asyncio.wait([waiting])
    gate.set()
    assert await task
