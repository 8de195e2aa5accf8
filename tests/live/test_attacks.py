"""Attacks on what a server has of sockets, memory and time: on real servers, with real sockets.

Floods of messages are in test_floods.py, clients that do not read in test_slow.py, what is no websocket in
test_fuzzing.py; here is what comes before a client is in, and what is too big. Another client talks all
the while: what it waits for an echo is compared with what it waited before.
"""

import asyncio
import contextlib
import json
import socket
import statistics
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import websockets
from websockets.frames import Frame, Opcode

from tests.live.peer import Desk, Peer
from tests.live.servers import MS, WebServer, daphne, eventually, uvicorn

APP = "tests.live.guarded:application"
QUIET = ("--verbosity", "0")
SERVERS: dict[str, Callable[..., WebServer]] = {
    "daphne": lambda env: daphne(APP, env, *QUIET),
    "uvicorn": lambda env: uvicorn(APP, env, loop="uvloop"),
}
HUB = {"CONNECTIONS_PER_ADDRESS": 50, "JOINS_PER_ADDRESS": 4000}
# With no attack at all the slowest of a few hundred echoes takes several times as long as the others.
NOTICED = 100 * MS


class Site:
    def __init__(self, server: WebServer, desk: Desk) -> None:
        self.server = server
        self.desk = desk
        self._before = len(server.log())

    def log(self) -> str:
        """What the server has said in this test."""
        return self.server.log()[self._before :]

    def connect(self, address: str, path: str = "/room/lobby/x/", **options: Any) -> Any:
        headers = {"X-Forwarded-For": address}
        return websockets.connect(
            self.server.ws_url(path), additional_headers=headers, open_timeout=30, **options
        )

    @contextlib.asynccontextmanager
    async def others_do_not_notice(self) -> AsyncIterator[None]:
        """Another client's 99 % of echoes come as before, while the block runs."""
        async with self.connect("198.51.100.1", "/room/quiet/bob/") as bob:
            before = [await echo(bob) for _ in range(100)]
            meanwhile: list[float] = []

            async def talk() -> None:
                while True:
                    meanwhile.append(await echo(bob))

            talking = asyncio.create_task(talk())
            try:
                yield
                await eventually(lambda: len(meanwhile) > 20 or talking.done())
            finally:
                talking.cancel()
                await asyncio.wait([talking])
            assert len(meanwhile) > 20
            assert p99(meanwhile) < 10 * p99(before) + NOTICED

    @contextlib.asynccontextmanager
    async def bounded(self, megabytes: int) -> AsyncIterator[None]:
        if sys.platform != "linux":
            yield
            return
        before = await self.desk("wired.kilobytes()")
        yield
        assert await self.desk("wired.kilobytes()") - before < megabytes * 1024


async def echo(client: Any) -> float:
    began = time.perf_counter()
    await client.send("ping")
    assert await client.recv() == "ping"
    return time.perf_counter() - began


def p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[98]


@pytest.fixture(scope="module", params=SERVERS)
def running(request: pytest.FixtureRequest) -> Iterator[WebServer]:
    """A server for all tests of its kind."""
    server = SERVERS[request.param]({"HUB": json.dumps(HUB)})
    asyncio.run(server.start())
    try:
        yield server
    finally:
        asyncio.run(server.stop())
    # uvicorn shows where it found invalid UTF-8, and both where a hook failed that was asked to.
    expected = ("Invalid UTF-8 sequence received", "LookupError: asked to")
    assert len(server.complaints()) == sum(server.log().count(words) for words in expected)


@pytest.fixture
async def site(running: WebServer) -> AsyncIterator[Site]:
    async with Desk(running) as desk:
        # What the test before was refused.
        await desk("[table.clear() for table in (places()._refused, places().refusals._under_way)]")
        yield Site(running, desk)
        await eventually(lambda: desk("wired.here() == 0 and not places()"), 20_000 * MS)


async def storm(site: Site, count: int, at_once: int) -> tuple[Counter[int], list[Any]]:
    """So many connects of one address: close codes, and those that are in."""
    free, codes, inside = asyncio.Semaphore(at_once), Counter[int](), []

    async def come(number: int) -> None:
        async with free:
            client = await site.connect("203.0.113.9", f"/room/lobby/c{number}/")
            with contextlib.suppress(websockets.ConnectionClosed):
                await client.send("in")
                assert await client.recv() == "in"
                inside.append(client)
                return
            codes[client.close_code] += 1

    await asyncio.gather(*(come(number) for number in range(count)))
    return codes, inside


@pytest.mark.parametrize("count", [150, pytest.param(2000, marks=pytest.mark.heavy)])
async def test_a_burst_of_connects_from_one_address(site: Site, count: int) -> None:
    async with site.bounded(30), site.others_do_not_notice():
        codes, inside = await storm(site, count, 20)
        assert len(inside) == 50
        assert codes == {4431: count - 50}
        assert await site.desk("wired.here()") == 51
        # Another address is welcome.
        async with site.connect("203.0.113.10", "/room/lobby/other/") as other:
            await echo(other)
        await asyncio.gather(*(client.close() for client in inside))
    log = site.log()
    assert log.count("address 203.0.113.9 is refused with 4431") == 1
    # The second line says how many they were, when it is over.
    assert log.count("4431") <= 2


async def test_handshakes_that_never_end(site: Site) -> None:
    """How long one may take is the server's or the proxy's to say; nothing of ours waits with it."""
    slow = []
    async with site.bounded(40), site.others_do_not_notice():
        for _ in range(100):
            raw = socket.create_connection((site.server.host, site.server.port))
            raw.sendall(b"GET /room/lobby/slow/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: webso")
            slow.append(raw)
        await asyncio.sleep(200 * MS)
        assert await site.desk("wired.here()") == 1
        assert await site.desk("len(places().waiting)") == 0
    for raw in slow:
        raw.close()


async def test_who_opens_and_says_nothing_keeps_nobody_out(site: Site) -> None:
    """As many of an address wait as may be there: not one more, and none of them is in."""
    async with contextlib.AsyncExitStack() as stack, site.others_do_not_notice():
        options: dict[str, Any] = {"subprotocols": ["hub.v1"]}
        silent = [
            await stack.enter_async_context(site.connect("203.0.113.9", f"/room/lobby/s{n}/", **options))
            for n in range(50)
        ]
        async with site.connect("203.0.113.9", "/room/lobby/s50/", **options) as one_more:
            await one_more.wait_closed()
            assert one_more.close_code == 4431
        async with site.connect("203.0.113.10", "/room/lobby/other/", **options) as other:
            await other.send('{"type":"connect"}')
            assert json.loads(await other.recv())["type"] == "hello"
        assert [client.close_code for client in silent] == [None] * 50


async def test_one_hundred_megabytes_in_fragments(site: Site) -> None:
    async with site.bounded(40), site.others_do_not_notice(), Peer(site.server, "room/lobby/big/") as big:
        piece = bytes(100_000)
        reading = asyncio.create_task(big.eof())
        sent = 0
        with contextlib.suppress(ConnectionError, RuntimeError):
            while sent < 1000 and not reading.done():
                opcode = Opcode.CONT if sent else Opcode.BINARY
                big._writer.write(Frame(opcode, piece, fin=sent == 999).serialize(mask=True))
                await big._writer.drain()
                sent += 1
        await reading
        # Daphne ends it without a word, at 1 MiB; uvicorn at 16 MiB, with a close frame where it is read.
        assert sent < 500
        assert big.close is None or big.close[0] == 1009


async def test_a_bomb_of_compressed_zeros(site: Site) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = bomb.compress(bytes(100_000_000)) + bomb.flush(zlib.Z_SYNC_FLUSH)
    packed = packed.removesuffix(b"\x00\x00\xff\xff")
    head = struct.pack("!BBQ4x", 0xC2, 0xFF, len(packed))  # binary, compressed, masked with zeros
    async with (
        site.bounded(60),
        site.others_do_not_notice(),
        Peer(site.server, "room/lobby/bomb/", deflate=True) as peer,
    ):
        # Daphne does not offer compression: bits of it are then a protocol error.
        peer._writer.write(head + packed)
        await peer.eof()
        assert peer.close is None or peer.close[0] in (1002, 1009)


IMPOSSIBLE = [
    b"\x83\x80\x00\x00\x00\x00",  # an opcode that there is not
    b"\x81\x02hi",  # not masked
    b"\x89\xfe\x00\xff\x00\x00\x00\x00" + bytes(255),  # a ping that is too long
    b"\xf1\x80\x00\x00\x00\x00",  # all reserved bits
    b"\x81\x81\x00\x00\x00\x00\xff",  # no UTF-8
    b"\x80\x80\x00\x00\x00\x00",  # the rest of nothing
]


async def test_frames_that_can_not_be(site: Site) -> None:
    async with site.others_do_not_notice():
        for number, frame in enumerate(IMPOSSIBLE * 3):
            async with Peer(site.server, f"room/lobby/bad{number}/") as peer:
                peer._writer.write(frame)
                await peer.eof()
                assert peer.close is None or peer.close[0] in (1002, 1007)


FORGED = "%0D%0AERROR:root:forged%1B%5B2J%E2%80%A8ERROR:root:forged%3Cb%3E"


async def test_names_that_would_write_lines_of_their_own(site: Site) -> None:
    """Hub and client ids with line breaks, control characters and HTML, in paths, headers and queries."""
    async with contextlib.AsyncExitStack() as stack:

        async def come(path: str) -> Any:
            return await stack.enter_async_context(site.connect("198.51.100.9<b>forged", path))

        inside = await come(f"/room/{FORGED}/{FORGED}/?next={FORGED}")
        await echo(inside)
        refused = await come(f"/failing/{FORGED}/x/?{FORGED}")
        await refused.wait_closed()
        assert refused.close_code == 1011
        await eventually(lambda: "refused" in site.log())
        # A line that names hub and client.
        await inside.send("x" * 70_000)
        await inside.wait_closed()
        assert inside.close_code == 1009
        await site.desk("warn()")
    log = site.log()
    assert "\\r\\nERROR:root:forged" in log
    assert not any(line.startswith("ERROR:root:forged") for line in log.splitlines())
    assert "\x1b[2J" not in log


async def test_ten_thousand_tiny_messages(site: Site) -> None:
    """Above its burst of a thousand it is not read, and then closed."""
    async with site.bounded(20), site.others_do_not_notice(), Peer(site.server, "room/lobby/tiny/") as tiny:
        reading = asyncio.create_task(tiny.read_up_to_close())
        await asyncio.wait([asyncio.create_task(tiny.flood(10_000, 0)), reading], timeout=2_000 * MS)
        echoes = len(tiny.messages)
        assert 900 < echoes < 2_500
        assert tiny.offered > echoes
        reading.cancel()
        await asyncio.wait([reading])
        tiny.reset()
