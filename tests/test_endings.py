"""How tasks are ended."""

import asyncio

from django_hub.endings import end


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again():
    swallowed = 0

    async def stubborn():
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end([task], 0.01)
    assert task.cancelled()
    assert swallowed == 2


async def test_nothing_to_end():
    await end([])
