"""The wires' one contract, on real servers with real sockets: what a strict client sees of them.

A client here reads when it is told to, and the server's side is asked from within (see `desk`).
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live.peer import Desk, Peer
from tests.live.servers import MS, WebServer, daphne, daphne_tls, eventually, uvicorn

APP = "tests.live.desk:application"
PLAIN = {"WIRES": "none"}
PINGS = ("--ws-ping-interval", "0.05", "--ws-ping-timeout", "20")


@dataclass
class Kind:
    """A server, the wire its clients must have, and whether that knows what the kernel took."""

    wire: str
    server: Any
    tls: bool = False

    @property
    def direct(self) -> bool:
        return self.wire != "AsgiWire"


def _daphne(env: dict[str, str], pem: Path) -> WebServer:
    return daphne(APP, env, "--ping-interval", "1", "--verbosity", "0")


def _daphne_tls(env: dict[str, str], pem: Path) -> WebServer:
    return daphne_tls(APP, env, pem, "--verbosity", "0")


def _uvicorn(ws: str, loop: str = "asyncio") -> Any:
    return lambda env, pem: uvicorn(APP, env, *PINGS, "--log-level", "info", ws=ws, loop=loop)


def _uvicorn_tls(loop: str) -> Any:
    def make(env: dict[str, str], pem: Path) -> WebServer:
        return uvicorn(APP, env, *PINGS, "--ssl-keyfile", str(pem), "--ssl-certfile", str(pem), loop=loop)

    return make


KINDS = {
    "daphne": Kind("DaphneWire", _daphne),
    "daphne-tls": Kind("DaphneTlsWire", _daphne_tls, tls=True),
    "daphne-asgi": Kind("AsgiWire", lambda env, pem: _daphne(env | PLAIN, pem)),
    "sansio-asyncio": Kind("UvicornWire", _uvicorn("websockets-sansio")),
    "sansio-uvloop": Kind("UvicornWire", _uvicorn("websockets-sansio", "uvloop")),
    "sansio-tls": Kind("UvicornWire", _uvicorn_tls("asyncio"), tls=True),
    "sansio-uvloop-tls": Kind("UvicornWire", _uvicorn_tls("uvloop"), tls=True),
    "sansio-asgi": Kind("AsgiWire", lambda env, pem: _uvicorn("websockets-sansio")(env | PLAIN, pem)),
    "wsproto-asyncio": Kind("UvicornWire", _uvicorn("wsproto")),
    "wsproto-uvloop": Kind("UvicornWire", _uvicorn("wsproto", "uvloop")),
    "websockets-asyncio": Kind("LegacyUvicornWire", _uvicorn("websockets")),
    "websockets-uvloop": Kind("LegacyUvicornWire", _uvicorn("websockets", "uvloop")),
}


class Site:
    """One server with its desk, and clients of it."""

    def __init__(self, kind: Kind, server: WebServer, desk: Desk, context: ssl.SSLContext | None) -> None:
        self.kind = kind
        self.server = server
        self.desk = desk
        self._context = context

    def peer(self, name: str, **options: Any) -> Peer:
        return Peer(self.server, name, tls=self._context, **options)

    @contextlib.asynccontextmanager
    async def client(self, name: str, **options: Any) -> AsyncIterator[Peer]:
        """A client whose wire is there."""
        async with self.peer(name, **options) as peer:
            await eventually(lambda: self.desk(f"'{name}' in heard"))
            yield peer


# Much as another one: a loop of another make.
VARIANTS = {"daphne-asgi", "sansio-asyncio", "sansio-uvloop-tls", "wsproto-uvloop", "websockets-uvloop"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(kind, marks=[pytest.mark.heavy] * (kind in VARIANTS)) for kind in KINDS],
)
def running(request: pytest.FixtureRequest, certificate: Path) -> Iterator[tuple[Kind, WebServer, Path]]:
    """A server for all tests of its kind."""
    kind = KINDS[request.param]
    server = kind.server({}, certificate)
    asyncio.run(server.start())
    try:
        yield kind, server, certificate
    finally:
        asyncio.run(server.stop())
    assert server.complaints() == []


@pytest.fixture
async def site(running: tuple[Kind, WebServer, Path]) -> AsyncIterator[Site]:
    kind, server, certificate = running
    context = ssl.create_default_context(cafile=str(certificate)) if kind.tls else None
    async with Desk(server, tls=context) as desk:
        await desk("wires.clear(), broken.clear(), heard.clear(), ended.clear()")
        yield Site(kind, server, desk, context)


async def test_each_server_has_its_wire(site: Site) -> None:
    async with site.client("ann"):
        assert await site.desk("type(wires['ann']).__name__") == site.kind.wire


async def test_messages_of_all_kinds_and_sizes(site: Site) -> None:
    sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 1_000_000]
    async with site.client("ann") as ann:
        await site.desk(f"write('ann', *('ä' * (n // 2) for n in {sizes}), *(b'x' * n for n in {sizes}))")
        messages = await ann.read(2 * len(sizes))
        assert messages == [*("ä" * (n // 2) for n in sizes), *(b"x" * n for n in sizes)]
        await eventually(lambda: site.desk("waiting('ann') == (0, 0)"))


async def test_ten_megabytes_in_one_frame(site: Site) -> None:
    if not site.kind.direct and site.server.name == "daphne":
        return  # Autobahn sends no more than it would receive
    async with site.client("ann") as ann:
        await site.desk("write('ann', 'x' * 10_000_000, 'behind')")
        assert await ann.read(2) == ["x" * 10_000_000, "behind"]


async def test_several_go_as_one_write_in_their_order(site: Site) -> None:
    async with site.client("ann") as ann:
        assert await site.desk("wires['ann'].write(Outgoing('one', b'two', 'three'))")
        assert await ann.read(3) == ["one", b"two", "three"]


async def test_a_client_that_agreed_to_compression(site: Site) -> None:
    """Frames that are not compressed are legal then, also between those that the server compresses."""
    async with site.client("ann", deflate=True) as ann:
        await site.desk("write('ann', *('x' * n for n in (0, 1, 1_000, 100_000)))")
        assert await ann.read(4) == ["x" * n for n in (0, 1, 1_000, 100_000)]


async def test_the_first_message_comes_behind_the_handshake(site: Site) -> None:
    async with site.client("hello") as peer:
        assert await peer.read(1) == ["the first"]


async def test_a_wire_made_before_the_handshake(site: Site) -> None:
    async with site.client("early") as peer:
        assert await site.desk("write('early', 'one', 'two')") == [True, True]
        assert await peer.read(2) == ["one", "two"]


async def test_order_holds_between_what_waits_and_what_does_not(site: Site) -> None:
    """The client stops and goes on again and again, while messages come all the time."""
    async with site.client("ann") as ann:
        for start in range(0, 5_000, 500):
            await site.desk(f"numbered('ann', {start}, {start + 500}, 2_000)")
            if start % 1_000:
                messages = await ann.read(900)
                numbers = [int(str(message).split()[0]) for message in messages]
                assert numbers == list(range(numbers[0], numbers[0] + 900))
                ann.stall()
        last = await ann.read(500)
        assert int(str(last[-1]).split()[0]) == 4_999
        await eventually(lambda: site.desk("waiting('ann') == (0, 0) and not tasks()"))


async def test_what_a_stalled_client_did_not_take_is_counted_and_given_back(site: Site) -> None:
    if site.kind.wire == "AsgiWire" and site.server.name == "daphne":
        return  # its own send takes all there is
    async with site.client("ann") as ann:
        assert await site.desk("numbered('ann', 0, 10_000, 1_000)")
        frames, size = await site.desk("waiting('ann')")
        assert 1_000 < frames < 10_000
        # Of the first a part may be taken.
        assert 0 <= frames * 1_000 - size < 1_000
        lost = await site.desk("numbers(wires['ann'].abandon())")
        assert lost == list(range(lost[0], 10_000))
        assert await site.desk("waiting('ann')") == (0, 0)
        assert await site.desk("write('ann', Close(4008, 'slow'))") == [True]
        messages = await ann.read_up_to_close()
        got = [int(str(message).split()[0]) for message in messages]
        assert got == list(range(len(got)))
        # What was under way is the client's all the same: some, in the transport, may be on both lists.
        assert lost[0] <= len(got) <= lost[0] + (200 if site.kind.direct else 1)
        assert ann.close == (4008, "slow")
        await ann.eof()
        await eventually(lambda: site.desk("'ann' in ended and not tasks()"))


async def test_what_the_kernel_took_of_one_write_counts_no_more(site: Site) -> None:
    if not site.kind.direct or site.kind.tls:
        return  # what TLS took may be with it or in the kernel
    async with site.client("ann") as ann, site.client("bob"):
        await site.desk("wires['ann'].write(Outgoing(*['x' * 1_000] * 10_000))")
        frames, size = await site.desk("waiting('ann')")
        assert 1_000 < frames < 10_000
        assert 0 <= frames * 1_000 - size < 1_000
        await ann.read(5_000)
        await eventually(lambda: site.desk("waiting('ann')[0] < 5_000"))
        assert await site.desk("waiting('ann')[0] == len(wires['ann'].abandon())")
        await site.desk("write('bob', 'x' * 10_000_000, 'behind')")
        frames, size = await site.desk("waiting('bob')")
        assert frames == 2
        assert 1_000_000 < size < 10_000_000


async def test_a_stalled_client_has_one_task_that_ends(site: Site) -> None:
    async with site.client("ann") as ann:
        await site.desk("numbered('ann', 0, 10_000, 1_000)")
        assert await site.desk("tasks()") <= 1
        assert len(await ann.read(10_000)) == 10_000
        await eventually(lambda: site.desk("waiting('ann') == (0, 0) and not tasks()"))


async def test_a_client_that_reads_a_little_at_a_time(site: Site) -> None:
    async with site.client("ann") as ann:
        await site.desk("numbered('ann', 0, 3_000, 1_000)")
        for _ in range(50):
            await ann.read_bytes(1)
        messages = await ann.read(3_000)
        assert [int(str(message).split()[0]) for message in messages] == list(range(3_000))


async def test_two_wires_of_one_socket_stall_together(site: Site) -> None:
    """Each keeps its order; what one has half in the transport is not torn by the other."""
    async with site.client("ann") as ann:
        for start in range(0, 12_000, 6_000):
            await site.desk(f"numbered('ann', {start}, {start + 6_000}, 1_000)")
            await site.desk(f"numbered('ann-too', {start}, {start + 3_000}, 999)")
            # Both wait now; these come to wires that have a task.
            await site.desk(f"numbered('ann-too', {start + 3_000}, {start + 6_000}, 999)")
            messages = await ann.read(12_000)
            for size in (1_000, 999):
                got = [int(str(message).split()[0]) for message in messages if len(message) == size]
                assert got == list(range(start, start + 6_000))
            ann.stall()
        await eventually(
            lambda: site.desk("waiting('ann') == waiting('ann-too') == (0, 0) and not tasks()")
        )


async def test_one_of_two_wires_is_given_up(site: Site) -> None:
    """Whichever waited first: the other goes on."""
    for given_up, other in (("ann", "ann-too"), ("bob-too", "bob")):
        name = given_up.partition("-")[0]
        async with site.client(name) as peer:
            await site.desk(f"numbered('{name}', 0, 800, 10_000)")
            await site.desk(f"numbered('{name}-too', 0, 800, 10_000)")
            lost = await site.desk(f"len(wires['{given_up}'].abandon())")
            assert await site.desk(f"write('{other}', 'the last')") == [True]
            messages: list[str | bytes] = []
            while "the last" not in messages:
                messages += await peer.read(1)
            assert len(messages) >= 1_601 - lost
            nothing = f"waiting('{name}') == waiting('{name}-too') == (0, 0)"
            await eventually(lambda nothing=nothing: site.desk(nothing))
            assert not await site.desk("tasks()")


async def test_a_reset_in_mid_frame_is_told_once(site: Site) -> None:
    async with site.client("ann") as ann:
        await site.desk("write('ann', *['x' * 1_000_000] * 10)")
        await ann.read_bytes(1_000)
        ann.reset()
        await eventually(lambda: site.desk("'ann' in ended"))
        await eventually(lambda: site.desk("not write('ann', 'late')[0]"))
        assert await site.desk("write('ann', 'later', Close(1000))") == [False, False]
        (error,) = await site.desk("broken['ann']")
        assert error in ("ClientDisconnected", "ConnectionResetError", "BrokenPipeError")
        lost = await site.desk("lengths(wires['ann'].abandon())")
        if site.kind.direct and not site.kind.tls:  # TLS takes all that is given at once
            assert lost[0] == 1_000_000
        assert lost[-1] == len("later")
        assert not await site.desk("tasks()")


async def test_a_client_that_closes_is_written_to_no_more(site: Site) -> None:
    async with site.client("ann") as ann:
        await ann.leave()
        await eventually(lambda: site.desk("write('ann', 'late') == [False]"))
        assert await site.desk("len(broken['ann'])") == 1
        assert set(await ann.read_up_to_close()) <= {"late"}
        assert ann.close is not None
        assert ann.close[0] == 1000
        await ann.eof()
        await eventually(lambda: site.desk("ended.get('ann') == 1000"))
        assert not await site.desk("tasks()")


async def test_a_close_racing_many_messages(site: Site) -> None:
    """Whichever comes first: the client never sees a frame behind the server's close."""
    for number in range(5):
        async with site.client(f"ann{number}") as ann:
            await ann.leave()
            await site.desk(f"numbered('ann{number}', 0, 200, 100)")
            messages = await ann.read_up_to_close()
            assert [int(str(m).split()[0]) for m in messages] == list(range(len(messages)))
            await ann.eof()


async def test_a_close_goes_behind_what_waits(site: Site) -> None:
    async with site.client("ann") as ann:
        await site.desk("numbered('ann', 0, 5_000, 1_000)")
        assert await site.desk("write('ann', Close(4001, 'enough'), 'late')") == [True, False]
        messages = await ann.read_up_to_close()
        assert len(messages) == 5_000
        assert ann.close == (4001, "enough")


async def test_what_goes_to_all_of_them_at_once_is_what_goes_to_each(site: Site) -> None:
    """That loop is another one: past TLS it would be in the clear."""
    async with site.client("ann") as ann, site.client("bob") as bob:
        await site.desk("write_to_all(['ann', 'bob'], 'one', b'two', 'three')")
        for peer in (ann, bob):
            assert await peer.read(3) == ["one", b"two", "three"]
        # One that does not read has the rest in order when it does.
        await site.desk("write_to_all(['ann', 'bob'], *(str(n).ljust(50_000) for n in range(200)))")
        await site.desk("write_to_all(['ann', 'bob'], 'the last', Close(4001, 'enough'), 'late')")
        for peer in (ann, bob):
            got = [str(message).strip() for message in await peer.read_up_to_close()]
            assert got == [*map(str, range(200)), "the last"]
            assert peer.close == (4001, "enough")


@pytest.mark.parametrize("code", [1000, 1009, 1011, 3000, 4999])
async def test_close_codes_and_reasons(site: Site, code: int) -> None:
    async with site.client("ann") as ann:
        assert await site.desk(f"write('ann', 'one', Close({code}, 'größer'))") == [True, True]
        assert await ann.read_up_to_close() == ["one"]
        assert ann.close == (code, "größer")


async def test_a_stalled_client_can_be_cut_off(site: Site) -> None:
    async with site.client("ann") as ann:
        await site.desk("write('ann', 'x' * 10_000_000)")
        assert await site.desk("wires['ann'].abort()") is site.kind.direct
        if site.kind.direct:
            await eventually(lambda: site.desk("'ann' in ended"))
            await ann.eof()


async def test_the_servers_pings_stand_between_frames(site: Site) -> None:
    if site.kind.wire == "DaphneTlsWire":
        return  # started without
    async with site.client("ann") as ann, asyncio.timeout(20_000 * MS):
        count = 0
        # Daphne's come every two seconds.
        enough = 1 if site.server.name == "daphne" else 3
        while ann.pings < enough:
            await site.desk(f"numbered('ann', {count}, {count + 20}, 50_000)")
            await ann.read(20)
            count += 20
    assert count
