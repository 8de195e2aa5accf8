"""SIGTERM is heard before the server hears it, and then by the server; here the test itself is sent it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from django_hub.wires.sigterm import put_off_sigterm
from tests.sockets import turns, until


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """What the server's handler heard."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def test_the_server_hears_it_when_the_work_is_done(heard: list[int]) -> None:
    gate = asyncio.Event()
    given: list[Any] = []
    theirs = signal.getsignal(signal.SIGTERM)

    async def work(handler: Any) -> None:
        given.append(handler)
        await gate.wait()

    assert put_off_sigterm(work)
    terminate()
    await until(lambda: given == [theirs])
    await turns(20)
    assert heard == []
    gate.set()
    await until(lambda: heard == [signal.SIGTERM])
    assert signal.getsignal(signal.SIGTERM) is theirs
    terminate()
    assert heard == [signal.SIGTERM] * 2


async def test_another_one_cuts_the_work_short(heard: list[int]) -> None:
    begun = asyncio.Event()

    async def work(_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    assert put_off_sigterm(work)
    terminate()
    await begun.wait()
    terminate()
    await until(lambda: heard == [signal.SIGTERM])


async def test_work_that_fails_keeps_no_server_from_its_end(
    heard: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    async def work(_: Any) -> None:
        raise ValueError("no")

    assert put_off_sigterm(work)
    terminate()
    await until(lambda: heard == [signal.SIGTERM])
    assert "the server ends all the same" in caplog.text


def test_a_loop_that_is_closed_puts_nothing_off(heard: list[int]) -> None:
    async def serve() -> None:
        async def work(_: Any) -> None:
            raise AssertionError("there is no loop for it")

        assert put_off_sigterm(work)

    asyncio.run(serve())
    terminate()
    assert heard == [signal.SIGTERM]


async def test_a_server_that_put_its_own_in_place_again_is_not_told_twice(heard: list[int]) -> None:
    gate = asyncio.Event()
    theirs = signal.getsignal(signal.SIGTERM)
    begun = asyncio.Event()

    async def work(_: Any) -> None:
        begun.set()
        await gate.wait()

    assert put_off_sigterm(work)
    terminate()
    await begun.wait()
    signal.signal(signal.SIGTERM, theirs)
    gate.set()
    await turns(20)
    assert heard == []


async def test_the_server_hears_it_also_behind_a_handler_that_came_later(heard: list[int]) -> None:
    """As error reporters do it: theirs first, then what was there before."""

    async def work(_: Any) -> None: ...

    assert put_off_sigterm(work)
    before: Any = signal.getsignal(signal.SIGTERM)
    outer: list[int] = []

    def report(number: int, frame: Any) -> None:
        outer.append(number)
        before(number, frame)

    signal.signal(signal.SIGTERM, report)
    terminate()
    await until(lambda: heard == [signal.SIGTERM])
    assert outer == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is report
    terminate()
    assert (heard, outer) == ([signal.SIGTERM] * 2, [signal.SIGTERM] * 2)


async def test_nothing_is_put_off_where_nobody_listens(heard: list[int]) -> None:
    async def work(_: Any) -> None: ...

    mine = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert not put_off_sigterm(work)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    signal.signal(signal.SIGTERM, mine)


async def test_nothing_is_put_off_in_a_thread(heard: list[int]) -> None:
    theirs = signal.getsignal(signal.SIGTERM)

    async def work(_: Any) -> None: ...

    async def serve() -> bool:
        return put_off_sigterm(work)

    assert not await asyncio.to_thread(lambda: asyncio.run(serve()))
    assert signal.getsignal(signal.SIGTERM) is theirs
