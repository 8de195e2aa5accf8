"""A strict websocket client that reads when it is told to, and no byte before."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.live.servers import MS, POLL, WebServer, eventually

PATIENCE = 20_000 * MS
# What the kernel keeps for one that does not read.
_BUFFER = 128 * 1024


class Peer:
    """Connects with ``async with``. ``pings`` are those the server sent by itself; each is answered."""

    def __init__(
        self,
        server: WebServer,
        name: str,
        *,
        deflate: bool = False,
        tls: ssl.SSLContext | None = None,
        subprotocol: Subprotocol | None = None,
    ) -> None:
        self.messages: list[str | bytes] = []
        self.frames: list[Frame] = []
        self.pings = 0
        self.offered = 0
        self.enough = False
        self._server = server
        self._tls = tls
        extensions = [ClientPerMessageDeflateFactory()] if deflate else None
        url = server.ws_url(f"/{name}")
        spoken = None if subprotocol is None else [subprotocol]
        self._protocol = ClientProtocol(
            parse_uri(url), extensions=extensions, subprotocols=spoken, max_size=None
        )
        self._response: Response | None = None

    @property
    def extensions(self) -> list[Any]:
        return list(self._protocol.extensions)

    @property
    def close(self) -> tuple[int, str] | None:
        """Code and reason of the server's close frame."""
        close = self._protocol.close_rcvd
        return None if close is None else (close.code, close.reason)

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(PATIENCE):
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            raw.setblocking(False)
            await asyncio.get_running_loop().sock_connect(raw, (self._server.host, self._server.port))
            hostname = "localhost" if self._tls else None
            self._reader, self._writer = await asyncio.open_connection(
                sock=raw, ssl=self._tls, server_hostname=hostname, limit=_BUFFER
            )
            self._protocol.send_request(self._protocol.connect())
            while self._response is None:
                await self._read_some()
            assert self._response.status_code == 101
        self.stall()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    def stall(self) -> None:
        """Take nothing from the kernel any more."""
        transport: Any = self._writer.transport
        if transport.is_reading():
            transport.pause_reading()

    async def read(self, count: int) -> list[str | bytes]:
        """The next so many messages."""
        async with asyncio.timeout(PATIENCE):
            while len(self.messages) < count:
                assert await self._read_some(), f"the server ended the connection: {self.close}"
        taken, self.messages = self.messages[:count], self.messages[count:]
        return taken

    async def read_bytes(self, most: int) -> None:
        """A little of what waits in the kernel; all that was read, or hangs, is looked into."""
        await self._read_some(most)

    async def read_up_to_close(self) -> list[str | bytes]:
        """All messages up to the server's close frame, or the end without one."""
        async with asyncio.timeout(PATIENCE):
            while self._protocol.close_rcvd is None and not self._protocol.eof_sent:
                if not await self._read_some():
                    break
        taken, self.messages = self.messages, []
        return taken

    async def eof(self) -> None:
        """Read until the server has ended the connection, and end it here."""
        async with asyncio.timeout(PATIENCE):
            while await self._read_some():
                pass
        self._writer.close()

    async def send(self, text: str) -> None:
        self._protocol.send_text(text.encode())
        self._flush()

    async def flood(self, count: int, size: int, text: Callable[[int], str] | None = None) -> None:
        """Send so many numbered messages, as fast as they are taken, and until the connection ends or
        `enough` is set. ``offered`` is how many went off. ``text`` makes them; else they have
        ``size`` bytes."""
        with contextlib.suppress(ConnectionError):
            while self.offered < count and not self.enough and self._protocol.state is State.OPEN:
                if text is None:
                    self._protocol.send_binary(b"%d " % self.offered + bytes(size))
                else:
                    self._protocol.send_text(text(self.offered).encode())
                self.offered += 1
                self._flush()
                await self._writer.drain()

    async def blocked(self) -> None:
        """Return when nothing more of a flood was taken for a second."""
        offered, since = -1, 0.0
        async with asyncio.timeout(PATIENCE):
            while offered != self.offered or time.monotonic() - since < 1_000 * MS:
                if offered != self.offered:
                    offered, since = self.offered, time.monotonic()
                await asyncio.sleep(POLL)

    async def leave(self, code: int = 1000) -> None:
        self._protocol.send_close(code)
        self._flush()

    def reset(self) -> None:
        """Leave as a machine does that lost its power, and is back."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _read_some(self, most: int = 1 << 20) -> bool:
        self._flush()
        transport: Any = self._writer.transport
        if not transport.is_closing():
            transport.resume_reading()
        try:
            data = await self._reader.read(most)
        except ConnectionError:
            data = b""
        if not data:
            self._protocol.receive_eof()
            return False
        self._protocol.receive_data(data)
        self._flush()
        if self._protocol.parser_exc is not None:
            raise AssertionError("the server sent what is no frame") from self._protocol.parser_exc
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self._response = event
            elif isinstance(event, Frame):
                self._take(event)
        return True

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame.opcode is Opcode.PING:
            self.pings += 1
        elif frame.opcode is Opcode.TEXT:
            self.messages.append(bytes(frame.data).decode())
        elif frame.opcode is Opcode.BINARY:
            self.messages.append(bytes(frame.data))

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)


class Desk(Peer):
    """The client that has Python evaluated in the server: ``await desk("write('ann', 'hello')")``."""

    def __init__(self, server: WebServer, **options: Any) -> None:
        super().__init__(server, "desk", **options)

    async def __call__(self, python: str) -> Any:
        await self.send(python)
        (answer,) = await self.read(1)
        assert isinstance(answer, str)
        return ast.literal_eval(answer)


class Place:
    """A server, its desk, and who comes into its hub."""

    def __init__(self, server: WebServer, desk: Desk) -> None:
        self.server = server
        self.desk = desk

    @contextlib.asynccontextmanager
    async def member(self, client_id: str, kind: str = "hub") -> AsyncIterator[Peer]:
        async with Peer(self.server, f"{kind}/lobby/{client_id}/") as peer:
            await eventually(
                lambda: self.desk(f"any(c.client_id == '{client_id}' for c in get_relay().fanout)")
            )
            yield peer


@contextlib.asynccontextmanager
async def place(server: WebServer) -> AsyncIterator[Place]:
    """For one test of several on a server; afterwards nobody is there."""
    async with Desk(server) as desk:
        await desk("left.clear(), last_words()")
        yield Place(server, desk)
        await eventually(lambda: desk("Room.sockets == here() == 0"))
