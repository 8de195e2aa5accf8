"""A crowd: thousands of websockets in one process, with just as much of a client as the tests need.

(With the `websockets` library 10,000 of them are too much for the memory and time that a test may take.)
"""

from __future__ import annotations

import asyncio
import base64
import json
import resource
from collections.abc import Iterable
from typing import Any

from tests.live.servers import WebServer
from tests.live.site import UNIT

_KEY = base64.b64encode(b"any sixteen byte").decode()
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
# On two busy cores ten thousand take minutes.
PATIENCE = 300 * UNIT
# So many at a time come in: a listening socket's queue is short.
_AT_ONCE = 100


class Person(asyncio.Protocol):
    """One websocket. ``heard`` has its JSON messages, each under its own type."""

    def __init__(self, name: str, path: str, host: str) -> None:
        self.name = name
        self.heard: dict[str, list[Any]] = {}
        self._head = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        self._open = False
        self._data = b""
        self._more: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._head.encode())

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._tell()

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._open:
            head, end, rest = self._data.partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._open, self._data = True, rest
        while self._frame():
            pass
        self._tell()

    def _frame(self) -> bool:
        """Take one whole frame; those of a server have no mask, and here they are short."""
        data = self._data
        if len(data) < 2:
            return False
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4]), 4
        if len(data) < start + size:
            return False
        payload, self._data = data[start : start + size], data[start + size :]
        match data[0] & 15:
            case 1:
                message = json.loads(payload)
                self.heard.setdefault(message["type"], []).append(message)
            case 8:
                self._send(_CLOSE, payload)
            case 9:
                self._send(_PONG, payload)
        return True

    def _send(self, opcode: int, payload: bytes) -> None:
        assert len(payload) < 126
        # A mask of zeros leaves the payload as it is.
        self._transport.write(bytes([128 | opcode, 128 | len(payload), 0, 0, 0, 0]) + payload)

    def _tell(self) -> None:
        if self._more is not None and not self._more.done():
            self._more.set_result(None)

    def say(self, message: object) -> None:
        self._send(_TEXT, json.dumps(message).encode())

    def leave(self) -> None:
        self._send(_CLOSE, b"\x03\xe8")

    async def opened(self) -> None:
        """The handshake is done."""
        async with asyncio.timeout(PATIENCE):
            while not self._open:
                assert not self.closed, f"{self.name} was not let in"
                self._more = asyncio.get_running_loop().create_future()
                await self._more

    async def hear(self, kind: str, count: int = 1) -> list[Any]:
        """All messages of a type, once there are so many."""
        async with asyncio.timeout(PATIENCE):
            while len(self.heard.get(kind, ())) < count:
                assert not self.closed, f"{self.name} was cut off"
                self._more = asyncio.get_running_loop().create_future()
                await self._more
        return self.heard[kind]


def allow_many_files(count: int) -> None:
    """For this process, and the servers it starts from now on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


async def come(places: Iterable[tuple[WebServer, str, str]]) -> list[Person]:
    """A person a place (server, room, name), each of them a member when this returns."""
    free = asyncio.Semaphore(_AT_ONCE)
    loop = asyncio.get_running_loop()

    async def enter(server: WebServer, room: str, name: str) -> Person:
        async with free:
            person = Person(name, f"/ws/room/{room}/?name={name}", f"{server.host}:{server.port}")
            await loop.create_connection(lambda: person, server.host, server.port)
            await person.hear("joined")
            return person

    return await asyncio.gather(*(enter(*place) for place in places))
