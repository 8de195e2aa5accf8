"""Servers that no wire knows: what a hub does through their ASGI `send`, as far as that goes.

Each has ways of its own: where they show, they stand here and in docs/promises.md.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.live.peer import Desk, Peer, Place, place
from tests.live.servers import MS, WebServer, eventually, granian, hypercorn

APP = "tests.live.wired:application"
SERVERS = {"hypercorn": lambda: hypercorn(APP), "granian": lambda: granian(APP)}


@pytest.fixture(scope="module", params=SERVERS)
def running(request: pytest.FixtureRequest) -> Iterator[WebServer]:
    """A server for all tests of its kind."""
    server = SERVERS[request.param]()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def site(running: WebServer) -> AsyncIterator[Place]:
    async with place(running) as there:
        yield there
    # Those that are ended with open sockets complain of it themselves.
    assert running.complaints() == []


def numbers(messages: list[str | bytes]) -> list[int]:
    return [int(str(message).split()[0]) for message in messages]


async def test_broadcasts_come_in_their_order(site: Place) -> None:
    async with site.member("ann") as ann, site.member("bob") as bob:
        assert await site.desk("wire_of('ann')") == "AsgiWire"
        for start in range(0, 1_000, 100):
            await site.desk(f"burst('lobby', {start}, {start + 100})")
            await ann.read_bytes(1_000)
        for peer in (ann, bob):
            assert numbers(await peer.read(1_000)) == list(range(1_000))
        await ann.send("1000 from ann")
        for peer in (ann, bob):
            assert await peer.read(1) == ["1000 from ann"]


async def test_a_stalled_client_is_closed_and_the_others_go_on(site: Place) -> None:
    """Both let `send` wait. What a server and the kernel took before that counts as delivered."""
    await site.desk("last_words(0.5)")
    async with site.member("slow") as slow, site.member("ann") as ann:
        sent = 0
        while not (left := await site.desk("farewell('slow')")):
            await site.desk("broadcast('lobby', 0, 10, 50_000)")
            sent += len(await ann.read(10))
            assert sent < 1_000
        reason, code, undelivered = left
        assert (reason, code) == ("slow", 4008)
        assert len(undelivered) == 5
        messages = numbers(await slow.read_up_to_close())
        assert messages == [number % 10 for number in range(len(messages))]
        assert slow.close in ((4008, "slow"), None)
        await eventually(lambda: site.desk("Room.sockets == here() == 1"))


async def test_a_destroyed_hub_closes_its_clients(site: Place) -> None:
    async with site.member("ann") as ann:
        await site.desk("hub_destroy('lobby')")
        assert await ann.read_up_to_close() == []
        assert ann.close is not None
        assert ann.close[0] == 4410
        await eventually(lambda: site.desk("Room.sockets == 0"))


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_who_goes_has_left(site: Place, how: str) -> None:
    async with site.member("ann") as ann:
        if how == "close":
            await ann.leave(4321)
        else:
            ann.reset()
        left = await eventually(lambda: site.desk("farewell('ann')"))
        # hypercorn knows no code of a client's close, granian no reset.
        expected = {
            ("hypercorn", "close"): ("read", 1006, []),
            ("hypercorn", "reset"): ("read", 1006, []),
            ("granian", "close"): ("close", 4321, []),
            ("granian", "reset"): ("close", 1005, []),
        }
        assert left == expected[site.server.name, how]
        await eventually(lambda: site.desk("Room.sockets == here() == 0"))


@pytest.mark.parametrize("kind", SERVERS)
async def test_a_stop_ends_the_sockets_and_the_process(kind: str) -> None:
    """Neither waits for what its applications' tasks still do: leases do the rest."""
    async with SERVERS[kind]() as server, Desk(server) as desk, Peer(server, "hub/lobby/ann/") as ann:
        await eventually(lambda: desk("here() == 1"))
        server.signal(signal.SIGTERM)
        await ann.eof()
        assert await server.wait(10_000 * MS) == 0
