"""Reading ahead of an application that takes nothing: what is kept, and when it is too much."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from django_hub import readahead
from django_hub.readahead import Meanwhile, ReadAhead, SocketEnded
from tests.sockets import turns, until


class Server:
    """What a server has of one socket. ``flooded``: how often it was called too much."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.flooded = 0
        self.ahead = ReadAhead(self.inbox.get, self.flood)

    def flood(self) -> None:
        self.flooded += 1

    def send(self, *messages: str | bytes) -> None:
        for data in messages:
            kind = "text" if isinstance(data, str) else "bytes"
            self.inbox.put_nowait({"type": "websocket.receive", kind: data})

    def disconnect(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def taken(self) -> None:
        await until(self.inbox.empty)
        await turns()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    with server.ahead:
        yield server


async def test_all_that_comes_is_given_on_in_its_order(server: Server) -> None:
    server.send("one", b"two", "")
    assert await server.ahead() == {"type": "websocket.receive", "text": "one"}
    await server.taken()
    server.send("four")
    server.disconnect()
    assert [(await server.ahead()).get("bytes") for _ in range(3)] == [b"two", None, None]
    assert (await server.ahead())["type"] == "websocket.disconnect"
    assert server.flooded == 0


async def test_who_waits_gets_what_comes_later(server: Server) -> None:
    waiting = asyncio.create_task(server.ahead())
    await turns()
    assert not waiting.done()
    server.send("late")
    assert (await waiting)["text"] == "late"


async def test_too_many_are_dropped_and_told_once(server: Server) -> None:
    server.send(*["x"] * readahead._MESSAGES)
    await server.taken()
    assert server.flooded == 0
    server.send("one too many")
    await server.taken()
    assert server.flooded == 1
    server.send(*["x"] * readahead._MESSAGES, "more")
    server.disconnect()
    assert (await server.ahead())["type"] == "websocket.disconnect"
    assert server.flooded == 1


async def test_too_many_bytes_as_well(server: Server) -> None:
    half = b"x" * (readahead._BYTES // 2)
    server.send(half, half)
    await server.taken()
    assert server.flooded == 0
    server.send("x")
    await server.taken()
    assert server.flooded == 1


async def test_what_was_taken_does_not_count(server: Server) -> None:
    half = "x" * (readahead._BYTES // 2)
    for _ in range(10):
        server.send(half, half)
        assert (await server.ahead())["text"] == half
        assert (await server.ahead())["text"] == half
    assert server.flooded == 0


async def test_one_alone_may_be_larger(server: Server) -> None:
    server.send("x" * (readahead._BYTES + 1))
    await server.taken()
    assert server.flooded == 0


async def test_behind_the_block_nothing_is_read() -> None:
    server = Server()
    with server.ahead:
        await turns()
    await turns()
    server.send("late")
    await turns()
    assert server.inbox.qsize() == 1


async def test_who_waits_hears_that_the_socket_has_ended() -> None:
    server = Server()
    meanwhile = Meanwhile(server.inbox.get)
    waiting = asyncio.create_task(meanwhile.sleep(600))
    await turns()
    server.send("one", "two")
    await turns()
    assert not waiting.done()
    server.disconnect()
    with pytest.raises(SocketEnded):
        await waiting
    assert [(await meanwhile()).get("text") for _ in range(3)] == ["one", "two", None]


async def test_what_comes_while_somebody_waits_comes_first_afterwards() -> None:
    server = Server()
    meanwhile = Meanwhile(server.inbox.get)
    assert not meanwhile.has_waited
    await meanwhile.sleep(0.001)
    assert meanwhile.has_waited
    server.send("one", "two")
    await turns()
    assert [(await meanwhile())["text"] for _ in range(2)] == ["one", "two"]
    server.send("three")
    assert (await meanwhile())["text"] == "three"
    meanwhile.close()


@pytest.mark.parametrize("most", ["_KEPT", "_KEPT_BYTES"])
async def test_while_somebody_waits_no_more_than_so_much_is_read(most: str) -> None:
    server = Server()
    meanwhile = Meanwhile(server.inbox.get)
    bound = getattr(readahead, most)
    server.send(*(["x"] * bound if most == "_KEPT" else ["x" * bound]), "not read", "nor this")
    waiting = asyncio.create_task(meanwhile.sleep(600))
    await until(lambda: server.inbox.qsize() == 2)
    await turns()
    assert server.inbox.qsize() == 2
    waiting.cancel()
    meanwhile.close()


async def test_what_is_under_way_ends_with_who_waited() -> None:
    server = Server()
    meanwhile = Meanwhile(server.inbox.get)
    await meanwhile.sleep(0.001)
    meanwhile.close()
    await turns()
    server.send("late")
    await turns()
    assert server.inbox.qsize() == 1
