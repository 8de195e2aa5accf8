"""What a wire sends before its consumer accepts, on servers that refuse it and on those that drop it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from django_hub.wires import handshake as module
from django_hub.wires.choice import _innermost
from django_hub.wires.handshake import Handshake
from tests.sockets import turns, until

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close", "code": 4409}


def text(data: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": data}


class Server:
    """A server's `send`. ``drops``: what comes before the accept, without a word, as granian does."""

    def __init__(self, *, drops: bool, accepted: bool = False) -> None:
        self.drops = drops
        self.accepted = accepted
        self.closed = False
        self.sent: list[str] = []
        self.slow: asyncio.Event | None = None

    async def send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            if self.closed:
                raise RuntimeError("accept after close")
            self.accepted = True
        elif kind == "websocket.close":
            self.closed = True
        elif self.closed:
            raise ConnectionResetError("closed")
        elif not self.accepted:
            if self.drops:
                return
            raise RuntimeError("message before the accept")
        elif self.slow is not None:
            await self.slow.wait()
        self.sent.append(message.get("text", kind))


@pytest.fixture(params=[False, True], ids=["refuses", "drops"])
def server(request: pytest.FixtureRequest) -> Server:
    return Server(drops=request.param)


async def test_what_comes_before_goes_behind_the_accept(server: Server) -> None:
    handshake = Handshake(server.send)
    early = [asyncio.create_task(handshake.send(text("1")))]
    await turns()
    assert server.sent == []
    await handshake.say(ACCEPT)
    await asyncio.wait(early)
    await handshake.send(text("2"))
    await handshake.say(text("own"))
    assert server.sent == ["websocket.accept", "1", "2", "own"]


async def test_what_comes_amid_the_accept_keeps_its_place() -> None:
    server = Server(drops=True)
    handshake = Handshake(server.send)
    await handshake.send(text("1"))
    await handshake.send(text("2"))
    server.slow = asyncio.Event()
    accepting = asyncio.create_task(handshake.say(ACCEPT))
    await until(lambda: server.accepted)
    late = asyncio.create_task(handshake.send(text("3")))
    await turns()
    server.slow.set()
    await asyncio.gather(accepting, late)
    assert server.sent == ["websocket.accept", "1", "2", "3"]


async def test_one_that_had_accepted_gets_each_once(server: Server) -> None:
    server.accepted = True
    handshake = Handshake(server.send)
    await handshake.send(text("1"))
    await handshake.say(text("own"))
    await handshake.send(text("2"))
    assert server.sent == ["1", "own", "2"]


async def test_one_that_never_accepts_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACCEPT_WITHIN", 0.01)
    handshake = Handshake(Server(drops=False).send)
    with pytest.raises(RuntimeError, match="before the accept"):
        await handshake.send(text("1"))
    with pytest.raises(RuntimeError, match="before the accept"):
        await handshake.send(text("2"))


async def test_one_that_refuses_its_client_ends_the_waiting(server: Server) -> None:
    handshake = Handshake(server.send)
    early = asyncio.create_task(handshake.send(text("1")))
    await turns()
    await handshake.say(CLOSE)
    await asyncio.wait([early])
    assert early.exception() is None if server.drops else isinstance(early.exception(), RuntimeError)
    assert server.sent == ["websocket.close"]


async def test_a_close_of_ours_is_the_end_also_for_the_accept(server: Server) -> None:
    handshake = Handshake(server.send)
    await handshake.send(CLOSE)
    await handshake.say(ACCEPT)
    assert server.sent == ["websocket.close"]


async def test_where_nobody_says_anything_no_more_than_some_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_KEPT", 3)
    server = Server(drops=True)
    handshake = Handshake(server.send)
    for number in range(5):
        await handshake.send(text(str(number)))
    await handshake.say(ACCEPT)
    assert server.sent == ["websocket.accept", "0", "1", "2"]


async def test_the_server_is_found_behind_it() -> None:
    server = Server(drops=False)
    handshake = Handshake(server.send)
    assert _innermost(handshake.send) == server.send
    await handshake.say(ACCEPT)
