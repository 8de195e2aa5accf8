"""Clients that send more than is taken, or than they may: on real servers, with real sockets."""

import asyncio
import contextlib
import json
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from websockets.typing import Subprotocol

from tests.live.peer import Desk, Peer
from tests.live.servers import POLL, WebServer, daphne, daphne_tls, eventually, uvicorn

APP = "tests.live.flooded:application"
QUIET = ("--verbosity", "0")
SERVERS = {
    "daphne": lambda pem: daphne(APP, None, *QUIET),
    "daphne-asgi": lambda pem: daphne(APP, {"WIRES": "none"}, *QUIET),
    "daphne-tls": lambda pem: daphne_tls(APP, None, pem, *QUIET),
    "uvicorn-sansio": lambda pem: uvicorn(APP, loop="uvloop"),
    "uvicorn-websockets": lambda pem: uvicorn(APP, ws="websockets"),
    "uvicorn-wsproto": lambda pem: uvicorn(APP, ws="wsproto"),
}
# One of each kind of pausing is tried every time; these are like one of the others.
LONGER = {"daphne-asgi", "daphne-tls", "uvicorn-websockets", "uvicorn-wsproto"}
# As much as 200 MB, in messages of 10 kB.
ALL = 20_000


class Site:
    def __init__(self, server: WebServer, desk: Desk, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self.desk = desk
        self._tls = tls

    @contextlib.asynccontextmanager
    async def member(self, client_id: str, kind: str = "post", speaks: str = "") -> AsyncIterator[Peer]:
        spoken = Subprotocol(speaks) if speaks else None
        path = f"{kind}/lobby/{client_id}/"
        async with Peer(self.server, path, tls=self._tls, subprotocol=spoken) as peer:
            if speaks:
                await peer.send('{"type":"connect"}')
            await eventually(
                lambda: self.desk(f"any(c.client_id == '{client_id}' for c in wired.get_relay().fanout)")
            )
            yield peer


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=[pytest.mark.heavy] * (kind in LONGER)) for kind in SERVERS],
)
def running(
    request: pytest.FixtureRequest, certificate: Path
) -> Iterator[tuple[WebServer, ssl.SSLContext | None]]:
    """A server for all tests of its kind."""
    server = SERVERS[request.param](certificate)
    tls = ssl.create_default_context(cafile=str(certificate)) if "tls" in request.param else None
    asyncio.run(server.start())
    try:
        yield server, tls
    finally:
        asyncio.run(server.stop())
    assert server.complaints() == []


@pytest.fixture
async def site(running: tuple[WebServer, ssl.SSLContext | None]) -> AsyncIterator[Site]:
    server, tls = running
    async with Desk(server, tls=tls) as desk:
        await desk("gate.clear(), handled.clear(), sockets.clear(), wired.left.clear()")
        yield Site(server, desk, tls)
        await desk("gate.set()")
        await eventually(lambda: desk("wired.here() == 0"))


@contextlib.asynccontextmanager
async def flooding(peer: Peer, size: int = 10_000) -> AsyncIterator[None]:
    """Inside the block, the client sends as fast as it is read."""
    task = asyncio.create_task(peer.flood(ALL, size))
    try:
        yield
    finally:
        peer.enough = True
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is asked of Linux' /proc")
@pytest.mark.may_skip
async def test_who_floods_a_full_mailbox_is_not_read_and_loses_nothing(site: Site) -> None:
    async with site.member("bob"), site.member("ann") as ann:
        before = await site.desk("wired.kilobytes()")
        async with flooding(ann):
            await ann.blocked()
            assert ann.offered < ALL / 10
            assert await site.desk("wired.kilobytes()") - before < 20 * 1024
            assert await site.desk("handled") == {}
            await site.desk("gate.set()")
            blocked_at = ann.offered
            await eventually(lambda: ann.offered > blocked_at + 1_000, message="read on")
            ann.enough = True
            await eventually(lambda: site.desk(f"in_order('ann', {ann.offered})"))
        assert await site.desk("wired.kilobytes()") - before < 20 * 1024


async def test_who_leaves_while_it_is_not_read_is_missed_when_it_is(site: Site) -> None:
    async with site.member("ann") as ann, flooding(ann):
        await ann.blocked()
        ann.reset()
        await site.desk("gate.set()")
        await eventually(lambda: site.desk("wired.farewell('ann')"))
        assert (await site.desk("wired.farewell('ann')"))[0] in ("read", "close")
        await eventually(lambda: site.desk("wired.here() == 0"))
        assert await site.desk("len(handled['ann']) >= 10 and in_order('ann', len(handled['ann']))")


async def test_who_is_closed_while_it_is_not_read_is_heard_to_answer(site: Site) -> None:
    async with site.member("ann") as ann, flooding(ann):
        await ann.blocked()
        await site.desk("sockets['ann'].close(4001, 'enough')")
        assert await ann.read_up_to_close() == []
        assert ann.close == (4001, "enough")
        ended = asyncio.create_task(ann.eof())
        if site.server.name != "uvicorn":  # two of its three don't hear it, and give up after a while
            await ended
        await site.desk("gate.set()")
        await eventually(lambda: site.desk("wired.farewell('ann')"))
        assert (await site.desk("wired.farewell('ann')"))[:2] == ("close", 4001)


async def test_who_sends_above_its_rate_is_slowed_then_closed_and_others_do_not_notice(site: Site) -> None:
    async with site.member("bob", "rated") as bob, site.member("ann", "rated") as ann:
        async with flooding(ann, 100):
            reading = asyncio.create_task(ann.read_up_to_close())
            for number in range(10):
                await bob.send(f"{number}")
                assert await bob.read(1) == [f"{number}"]
            assert not reading.done()
            echoes = await reading
            assert ann.close == (4429, "too many messages")
        assert [int(echo.split()[0]) for echo in echoes] == list(range(len(echoes)))
        # Two hundred at once, two hundred held back, and as many as became due meanwhile.
        assert 400 <= len(echoes) < 800
        assert await site.desk(f"in_order('ann', {len(echoes)})")
        await eventually(lambda: site.desk("wired.farewell('ann')"))
        assert await site.desk("wired.farewell('ann')") == ("close", 4429, [])
        assert site.server.log().count("ann in hub lobby is closed: it sends more than 200 messages") == 1
        await bob.send("10")
        assert await bob.read(1) == ["10"]
        await eventually(lambda: site.desk("wired.here() == 1"))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is asked of Linux' /proc")
@pytest.mark.may_skip
async def test_who_asks_and_never_reads_the_replies_is_closed_and_others_do_not_notice(site: Site) -> None:
    def request(number: int) -> str:
        return json.dumps({"type": "request", "id": number + 1, "data": number})

    # The first to join says on which channel the hub is handled.
    async with site.member("ann", "ask", "hub.v1") as ann, site.member("bob", "rated") as bob:
        if await site.desk("wired.wire_of('ann')") == "AsgiWire":
            pytest.skip("Daphne's own send takes all that there is, and tells nobody")
        before = await site.desk("wired.kilobytes()")
        flood = asyncio.create_task(ann.flood(100_000, 0, request))
        try:
            number = 0
            while not await site.desk("'ann' in wired.left"):
                await bob.send(f"{number}")
                assert await bob.read(1) == [f"{number}"]
                number += 1
                await asyncio.sleep(POLL)  # bob keeps below his own rate
        finally:
            ann.enough = True
            flood.cancel()
            await asyncio.wait([flood])
        assert number > 0
        assert (await site.desk("wired.farewell('ann')"))[:2] == ("slow", 4008)
        assert await site.desk("wired.kilobytes()") - before < 20 * 1024
        await bob.send(f"{number}")
        assert await bob.read(1) == [f"{number}"]
        frames = [json.loads(frame) for frame in await ann.read_up_to_close()]
        if ann.close is None:
            # Five seconds after its Close it is cut, and what it had not read is gone: on a slow machine
            # before the test hears that it has left.
            return
        assert ann.close == (4008, "slow")
        assert frames[0]["type"] == "hello"
        # What it got is in order, and it offered more than that was answered.
        replies = [frame["id"] for frame in frames if frame.get("type") == "reply"]
        assert replies == list(range(1, len(replies) + 1))
        assert len(replies) < ann.offered


async def test_where_daphne_can_not_stop_reading_who_floods_is_closed() -> None:
    async with daphne(APP, {"WITHOUT": "pauseProducing"}, *QUIET) as server, Desk(server) as desk:
        site = Site(server, desk, None)
        async with site.member("bob") as bob, site.member("ann") as ann:
            assert await desk("wired.wire_of('ann')") == "DaphneWire"
            before = await desk("wired.kilobytes()")
            async with flooding(ann):
                await ann.read_up_to_close()
                assert ann.close == (1013, "try again later")
                await eventually(lambda: desk("wired.here() == 1"))
            assert await desk("wired.kilobytes()") - before < 20 * 1024
            await desk("gate.set()")
            await bob.send("0")
            await eventually(lambda: desk("in_order('bob', 1)"))
            assert (await desk("wired.farewell('ann')"))[:2] == ("close", 1013)
            taken = await desk("len(handled['ann'])")
            assert 0 < taken <= 10
            assert await desk(f"in_order('ann', {taken})")
    log = server.log()
    assert log.count("ann in hub lobby is closed: it sends more than is taken") == 1
    assert log.count(".pauseProducing. It can't be kept from reading") == 1
    assert server.complaints() == []
