"""One client that stops reading, in a hub that goes on: on real servers, with real sockets."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.live.peer import Peer, Place, place
from tests.live.servers import WebServer, daphne, eventually, uvicorn

APP = "tests.live.wired:application"
SERVERS = {
    "daphne": lambda: daphne(APP, None, "--verbosity", "0"),
    "uvicorn-sansio": lambda: uvicorn(APP, loop="uvloop"),
    "uvicorn-websockets": lambda: uvicorn(APP, ws="websockets"),
    "uvicorn-wsproto": lambda: uvicorn(APP, ws="wsproto"),
}


# Their wires are held by test_wires.py every time; here they differ little from the first two.
LONGER = {"uvicorn-websockets", "uvicorn-wsproto"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=[pytest.mark.heavy] * (kind in LONGER)) for kind in SERVERS],
)
def running(request: pytest.FixtureRequest) -> Iterator[WebServer]:
    """A server for all tests of its kind."""
    server = SERVERS[request.param]()
    asyncio.run(server.start())
    try:
        yield server
    finally:
        asyncio.run(server.stop())
    assert server.complaints() == []


@pytest.fixture
async def site(running: WebServer) -> AsyncIterator[Place]:
    async with place(running) as there:
        yield there


def numbers(messages: list[str | bytes]) -> list[int]:
    return [int(str(message).split()[0]) for message in messages]


@pytest.mark.parametrize("kind", ["hub", "stock"])
async def test_it_is_closed_and_what_it_did_not_get_is_told(site: Place, kind: str) -> None:
    async with site.member("slow", kind) as slow:
        assert await site.desk("wire_of('slow')") != "AsgiWire"
        sent = await site.desk("broadcast_until_left('lobby', 'slow', 50_000)")
        assert sent * 50_000 > 1024 * 1024
        got = numbers(await slow.read_up_to_close())
        assert got == list(range(len(got)))
        assert slow.close == (4008, "slow")
        reason, code, undelivered = await site.desk("farewell('slow')")
        assert (reason, code) == ("slow", 4008)
        # The newest 256 KiB of them. What was half in the kernel is told, and may come all the same.
        assert len(undelivered) == 5
        assert undelivered == list(range(undelivered[0], undelivered[0] + 5))
        assert len(got) <= undelivered[-1] < sent


async def test_it_has_a_while_to_read_why(site: Place) -> None:
    """Longer than the second that Autobahn gives a client to answer a close."""
    async with site.member("slow") as slow:
        await site.desk("broadcast_until_left('lobby', 'slow', 50_000)")
        await asyncio.sleep(1.5)
        assert numbers(await slow.read_up_to_close())
        assert slow.close == (4008, "slow")


async def broadcast_to(site: Place, reader: Peer, count: int, keys: int = 0) -> None:
    """So many messages of 10,000 bytes, no faster than this one reads them."""
    for start in range(0, count, 20):
        await site.desk(f"broadcast('lobby', {start}, {start + 20}, 10_000, {keys})")
        assert numbers(await reader.read(20)) == list(range(start, start + 20))


async def read_up_to(reader: Peer, last: int) -> list[int]:
    got = numbers(await reader.read(1))
    while got[-1] < last:
        got += numbers(await reader.read(1))
    return got


@pytest.mark.skipif(sys.platform != "linux", reason="memory is asked of Linux' /proc")
@pytest.mark.may_skip
async def test_memory_stays_bounded(site: Place) -> None:
    async with site.member("slow"), site.member("ann") as ann:
        await broadcast_to(site, ann, 20)
        before = await site.desk("kilobytes()")
        await broadcast_to(site, ann, 4_000)
        assert (await site.desk("farewell('slow')"))[:2] == ("slow", 4008)
        assert await site.desk("kilobytes()") - before < 20 * 1024


async def test_one_that_never_answers_is_cut_off(site: Place) -> None:
    await site.desk("last_words(0.2)")
    async with site.member("slow") as slow:
        await site.desk("broadcast_until_left('lobby', 'slow', 100_000)")
        await eventually(lambda: site.desk("farewell('slow') and Room.sockets == 0"))
        await slow.eof()
        assert slow.close is None


async def test_it_may_miss_the_oldest(site: Place) -> None:
    async with site.member("slow", "dropping") as slow, site.member("ann") as ann:
        await broadcast_to(site, ann, 1_000)
        assert await site.desk("waiting_for('slow')") <= 200_000
        got = await read_up_to(slow, 999)
        # In order, each once: what the kernel had, a gap, and the newest without one.
        assert got == sorted(set(got))
        assert len(got) < 1_000
        assert got[-10:] == list(range(990, 1_000))
        assert await site.desk("farewell('slow')") is None
        # It goes on as if nothing had been.
        await site.desk("broadcast('lobby', 0, 3, 10)")
        assert numbers(await slow.read(3)) == [0, 1, 2]


async def test_it_may_get_the_newest_of_each_key_only(site: Place) -> None:
    async with site.member("slow", "newest") as slow, site.member("ann") as ann:
        await broadcast_to(site, ann, 1_000, keys=3)
        assert await site.desk("waiting_for('slow')") <= 200_000
        got = await read_up_to(slow, 999)
        assert got == sorted(set(got))
        assert len(got) < 1_000
        assert got[-3:] == [997, 998, 999]
        assert await site.desk("farewell('slow')") is None


async def test_many_at_once_come_in_their_order(site: Place) -> None:
    """Joined to one write or not, also for one that reads now and then."""
    async with site.member("ann") as ann, site.member("bob") as bob:
        for start in range(0, 1_000, 100):
            await site.desk(f"burst('lobby', {start}, {start + 100})")
            await ann.read_bytes(1_000)
        for peer in (ann, bob):
            assert numbers(await peer.read(1_000)) == list(range(1_000))


async def test_after_all_have_left_nothing_is_left(site: Place) -> None:
    for _ in range(3):
        async with contextlib.AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(site.member(f"c{n}")) for n in range(10)]
            await site.desk("burst('lobby', 0, 50)")
            for peer in peers[::2]:
                peer.reset()
    await eventually(lambda: site.desk("Room.sockets == here() == len(get_relay().fanout) == 0"))
    assert site.server.complaints() == []
