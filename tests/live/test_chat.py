"""The demo's chat, whole, on each real server: pages, sockets, events, and what hostile clients do."""

from __future__ import annotations

import asyncio
import json
import signal
import struct
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
import websockets

from tests.live.chat import PATIENCE, ChatClient
from tests.live.servers import WebServer, daphne, eventually, uvicorn

APP = "demo_project.asgi:application"
SERVERS = {"daphne": lambda: daphne(APP), "uvicorn": lambda: uvicorn(APP, loop="uvloop")}
# Which have a smaller part in production, and get a smaller part of the tests.
OTHER_SERVERS = {
    "uvicorn-asyncio": lambda: uvicorn(APP),
    "uvicorn-websockets": lambda: uvicorn(APP, ws="websockets"),
    "uvicorn-wsproto": lambda: uvicorn(APP, ws="wsproto"),
}

Room = Callable[..., Awaitable[ChatClient]]


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[WebServer]:
    """One server for all tests of this module; its log must be clean at the end."""
    server = SERVERS[request.param]()
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())
    # uvicorn shows where it found invalid UTF-8, which one of the tests sends.
    invalid = server.log().count("Invalid UTF-8 sequence received")
    assert server.complaints() == ["Traceback (most recent call last):"] * invalid


@pytest.fixture
async def room(server: WebServer, request: pytest.FixtureRequest) -> AsyncIterator[Room]:
    """``await room("ann")`` comes into a room of this test's own."""
    name = f"room-{abs(hash(request.node.nodeid)) % 10**9}"
    async with AsyncExitStack() as stack:

        async def enter(client: str | None = None, *, room: str = name, **options: object) -> ChatClient:
            return await stack.enter_async_context(ChatClient(server, room, client, **options))

        yield enter


async def test_three_people_chat(room: Room) -> None:
    ann = await room("ann")
    assert await ann.next() == {"type": "members", "members": ["ann"]}
    assert await ann.next() == {"type": "joined", "client": "ann"}
    bob = await room("bob")
    assert await bob.next() == {"type": "members", "members": ["ann", "bob"]}
    assert await bob.next() == {"type": "joined", "client": "bob"}
    assert await ann.next() == {"type": "joined", "client": "bob"}
    cid = await room("cid")
    assert await cid.next() == {"type": "members", "members": ["ann", "bob", "cid"]}
    for each in (ann, bob, cid):
        assert await each.next() == {"type": "joined", "client": "cid"}

    await ann.say("hello ✓")
    for each in (ann, bob, cid):
        assert await each.next() == {"type": "said", "client": "ann", "text": "hello ✓"}
    await bob.send({"type": "tell", "to": "cid", "text": "psst"})
    assert await cid.next() == {"type": "told", "client": "bob", "text": "psst"}
    await ann.send({"type": "who"})
    assert await ann.next() == {"type": "members", "members": ["ann", "bob", "cid"]}

    await cid.socket.close()
    for each in (ann, bob):
        assert await each.next() == {"type": "left", "client": "cid", "reason": "close"}
    assert await ann.here() == ["ann", "bob"]


@pytest.mark.heavy
async def test_three_hundred_people_hear_all_in_the_same_order(room: Room) -> None:
    people = await asyncio.gather(*(room(f"p{number:03}") for number in range(300)))
    names = sorted(person.name or "" for person in people)
    for person in people:
        await person.until(type="joined", client=person.name)
    assert await people[0].here() == names

    async def talk(speaker: ChatClient) -> None:
        for number in range(5):
            await speaker.say(f"{speaker.name} {number}")

    await asyncio.gather(*(talk(speaker) for speaker in people[::10]))
    heard = [[(await person.until(type="said"))["text"] for _ in range(150)] for person in people]
    assert all(each == heard[0] for each in heard), "two clients heard different orders"
    for speaker in people[::10]:
        own = [text for text in heard[0] if text.startswith(f"{speaker.name} ")]
        assert own == [f"{speaker.name} {number}" for number in range(5)]

    await asyncio.gather(*(person.socket.close() for person in people[1:]))
    left = [(await people[0].until(type="left"))["client"] for _ in range(299)]
    assert sorted(left) == names[1:]
    assert await people[0].here() == names[:1]


async def test_a_client_without_a_name_gets_a_new_one(room: Room) -> None:
    (one,) = (await (await room()).next())["members"]
    both = (await (await room()).next())["members"]
    assert one in both
    assert len(set(both)) == 2
    assert all(len(name) == 32 for name in both)


async def test_the_newest_of_a_name_stays(room: Room) -> None:
    watcher = await room("watcher")
    await watcher.until(type="joined", client="watcher")
    old = await room("ann")
    await watcher.until(type="joined", client="ann")
    new = await room("ann")
    assert await new.next() == {"type": "members", "members": ["ann", "watcher"]}
    assert await old.closed() == 4409
    assert await watcher.next() == {"type": "left", "client": "ann", "reason": "replaced"}
    assert await watcher.next() == {"type": "joined", "client": "ann"}
    await new.say("still here")
    assert await watcher.next() == {"type": "said", "client": "ann", "text": "still here"}
    assert await watcher.here() == ["ann", "watcher"]


@pytest.mark.parametrize(
    "data", [b"\x00\xff\x80", b"", bytes(range(256)) * 200], ids=["few", "none", "many"]
)
async def test_bytes_come_back_as_they_are(room: Room, data: bytes) -> None:
    ann = await room("ann")
    await ann.until(type="joined", client="ann")
    bob = await room("bob")
    await ann.until(type="joined", client="bob")
    await bob.until(type="joined", client="bob")
    await ann.socket.send(data)
    assert await ann.next() == data
    assert await bob.next() == data


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        ("hello", "JSON"),
        ("", "JSON"),
        ("[1]", "an array"),
        ("[" * 30_000, "nested"),
        ("{}", '"type" is missing'),
        ('{"type": 1}', "not a number"),
        ('{"type": "shout"}', "unknown type"),
        ('{"type": "say"}', '"text" is missing'),
        ('{"type": "say", "text": ["a"]}', "not an array"),
        ('{"type": "say", "text": "\\ud800"}', "surrogate"),
        ('{"type": "tell", "text": "a"}', '"to" is missing'),
        ('{"type": "tell", "to": "zoe", "text": "a"}', '"zoe"'),
        ('{"type": "tell", "to": "", "text": "a"}', '""'),
        ('{"type": "tell", "to": "\\u0000", "text": "a"}', "nobody"),
    ],
)
async def test_a_bad_message_is_answered_to_its_sender_alone(room: Room, sent: str, wanted: str) -> None:
    ann = await room("ann")
    await ann.until(type="joined", client="ann")
    bob = await room("bob")
    await bob.until(type="joined", client="bob")
    await ann.until(type="joined", client="bob")
    await ann.socket.send(sent)
    answer = await ann.next()
    assert answer["type"] == "error"
    assert wanted in answer["error"]
    await ann.say("the socket is open")
    assert (await bob.next())["text"] == "the socket is open"


@pytest.mark.parametrize("name", ["", "a%20b", "%C3%A9", "x" * 65, "%00", "%FF", "a&name=b", "a/b"])
async def test_a_bad_name_is_refused_with_a_code(room: Room, name: str) -> None:
    assert await (await room(name)).closed() == 4400


@pytest.mark.parametrize("bad", ["a%20b", "%C3%A9", "x" * 65, "%00", "a/b", "%F0%9F%92%A9"])
async def test_a_bad_room_is_refused_with_a_code(room: Room, bad: str) -> None:
    assert await (await room("ann", room=bad)).closed() == 4400


async def test_names_and_rooms_may_have_64_characters(room: Room) -> None:
    name = "aZ09-_." + "x" * 57
    client = await room(name, room=name)
    assert (await client.next())["members"] == [name]


async def test_pages_of_other_sites_are_refused(server: WebServer) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        async with ChatClient(server, "room", "ann", origin="http://evil.example"):
            pass
    assert refused.value.response.status_code == 403


async def test_our_own_pages_are_let_in(room: Room) -> None:
    client = await room("ann", origin="http://localhost:8000")
    await client.until(type="joined", client="ann")


async def test_too_long_a_message_closes_its_own_socket_only(room: Room) -> None:
    ann = await room("ann")
    await ann.until(type="joined", client="ann")
    bob = await room("bob")
    await ann.until(type="joined", client="bob")
    await bob.socket.send("é" * 32_769)
    assert await bob.closed() == 1009
    assert await ann.next() == {"type": "left", "client": "bob", "reason": "close"}
    text = "é" * 30_000
    await ann.say(text)
    assert (await ann.next())["text"] == text


async def test_invalid_utf8_closes_its_own_socket_only(room: Room) -> None:
    ann = await room("ann")
    await ann.until(type="joined", client="ann")
    bob = await room("bob")
    await ann.until(type="joined", client="bob")
    bob.socket.transport.write(frame(0x81, b"\xff\xfe\xfd"))
    # Daphne and wsproto drop the connection without a word, others say why.
    assert await bob.closed() in (1006, 1007)
    left = await ann.next()
    assert (left["type"], left["client"]) == ("left", "bob")
    assert await ann.here() == ["ann"]


async def test_a_client_that_vanishes_is_seen_to_leave(room: Room) -> None:
    ann = await room("ann")
    await ann.until(type="joined", client="ann")
    bob = await room("bob")
    await ann.until(type="joined", client="bob")
    bob.socket.transport.abort()
    left = await ann.next()
    assert (left["type"], left["client"]) == ("left", "bob")
    assert left["reason"] in ("close", "read")
    assert await ann.here() == ["ann"]


async def test_a_client_that_sends_before_it_may_does_no_harm(server: WebServer, room: Room) -> None:
    """RFC 6455 has clients wait for the handshake. Servers lose what came with the request, no more."""
    ann = await room("ann", room="early")
    await ann.until(type="joined", client="ann")
    early = frame(0x81, json.dumps({"type": "say", "text": "too early"}).encode())
    late = frame(0x81, json.dumps({"type": "say", "text": "in time"}).encode())
    reader, writer = await asyncio.open_connection(server.host, server.port)
    try:
        writer.write(handshake("/ws/chat/early/?name=eve") + early)
        await ann.until(type="joined", client="eve")
        writer.write(late)
        await ann.until(type="said", client="eve", text="in time")
    finally:
        writer.close()
    assert (await ann.until(type="left"))["client"] == "eve"
    assert not reader.at_eof()


async def test_a_client_that_gives_up_while_it_joins_leaves_nothing(server: WebServer, room: Room) -> None:
    ann = await room("ann", room="quitters")
    await ann.until(type="joined", client="ann")
    for number in range(50):
        _, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(handshake(f"/ws/chat/quitters/?name=q{number}"))
        await writer.drain()
        writer.transport.abort()

    async def only_ann() -> bool:
        return await ann.here() == ["ann"]

    await eventually(only_ann, timeout=PATIENCE)


async def test_many_small_rooms_stay_apart(room: Room) -> None:
    pairs = await asyncio.gather(
        *(asyncio.gather(room("ann", room=f"r{n}"), room("bob", room=f"r{n}")) for n in range(100))
    )
    for number, (ann, _) in enumerate(pairs):
        await ann.say(f"in {number}")
    for number, (_, bob) in enumerate(pairs):
        assert (await bob.until(type="said"))["text"] == f"in {number}"


async def test_the_lobby_lists_live_rooms_and_forgets_empty_ones(server: WebServer, room: Room) -> None:
    async def lobby() -> str:
        def get() -> str:
            with urllib.request.urlopen(server.http_url("/"), timeout=PATIENCE) as answer:
                return str(answer.read().decode())

        return await asyncio.to_thread(get)

    client = await room("ann", room="seen-in-the-lobby")
    await client.until(type="joined", client="ann")
    assert "seen-in-the-lobby" in await lobby()
    await client.socket.close()

    async def gone() -> bool:
        return "seen-in-the-lobby" not in await lobby()

    await eventually(gone, timeout=PATIENCE)


@pytest.mark.parametrize("kind", OTHER_SERVERS)
async def test_the_other_servers_do_the_same(kind: str) -> None:
    server = OTHER_SERVERS[kind]()
    async with server, ChatClient(server, "room", "ann") as ann:
        await ann.until(type="joined", client="ann")
        async with ChatClient(server, "room", "bob") as bob:
            await bob.until(type="joined", client="bob")
            for data in (b"", b"\x00\xff" * 30_000):
                await bob.socket.send(data)
                assert await bob.next() == data
            async with ChatClient(server, "room", "bob") as newer:
                assert await bob.closed() == 4409
                await newer.until(type="members")
                await newer.socket.send("x" * 70_000)
                assert await newer.closed() == 1009
        assert (await ann.until(type="left", reason="close"))["client"] == "bob"
        async with ChatClient(server, "a%20room", "bob") as refused:
            assert await refused.closed() == 4400
        assert await ann.here() == ["ann"]
    assert server.complaints() == []


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_sigterm_ends_a_server_in_order(kind: str) -> None:
    """It ends in time with a clean log, though clients are talking."""
    server = SERVERS[kind]()
    async with server, ChatClient(server, "room", "ann") as ann, ChatClient(server, "room", "bob") as bob:
        await ann.until(type="joined", client="bob")
        await bob.say("last words")
        await ann.until(type="said")
        server.signal(signal.SIGTERM)
        # uvicorn ends itself by the signal that it got, once it is done.
        assert await server.wait() == (0 if kind == "daphne" else -signal.SIGTERM)
        await ann.closed()
    assert server.complaints() == []


def handshake(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def frame(first: int, payload: bytes) -> bytes:
    """A client's frame: masked, with a mask of zeros."""
    assert len(payload) < 126
    return struct.pack("!BB4x", first, 0x80 | len(payload)) + payload
