"""What is posted while a client's message is taken."""

import asyncio

from django_hub.taking import Posting, Taking


def test_posts_have_numbers_that_rise_with_the_message() -> None:
    first, second = Taking(1, False), Taking(2, True)
    assert first.next() == Posting(1025)
    assert first.next() == Posting(1026)
    assert second.next() == Posting(2049, request=2)
    assert Taking(1, False).next() == Posting(1025)


def test_no_message_has_the_numbers_of_the_next() -> None:
    taking = Taking(1, False)
    numbers = [posting.number for _ in range(1023) if (posting := taking.next())]
    assert numbers == list(range(1025, 2048))
    assert taking.next() is None


async def test_it_is_here_in_its_block_and_in_the_tasks_that_began_there() -> None:
    taking, other = Taking(1, False), Taking(1, False)
    go_on = asyncio.Event()

    async def elsewhere() -> bool:
        await go_on.wait()
        return taking.is_here()

    before = asyncio.create_task(elsewhere())
    with taking.here():
        assert taking.is_here()
        assert not other.is_here()
        go_on.set()
        assert await asyncio.create_task(elsewhere())
        assert not await before
    assert not taking.is_here()
