"""A client of ``hub.v1`` that does only what a test says: it neither pings nor comes back by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.live.servers import WebServer
from tests.live.site import UNIT


class Talker:
    def __init__(self, name: str = "", hub: str = "garden") -> None:
        self.path = f"/ws/{hub}/" + (f"?name={name}" if name else "")
        self.hello: dict[str, Any] = {}
        self.epoch = ""
        self.seq = self.direct = self.number = 0
        self.heard: list[dict[str, Any]] = []
        self.socket: ClientConnection
        self._reader: asyncio.Task[None]
        self._arrived = asyncio.Condition()
        self.code: int | None = None

    async def come(self, server: WebServer, *, anew: bool = False, **fields: Any) -> Self:
        """Connect, with what was heard before unless ``anew``, and be welcomed."""
        self.code = None
        self.socket = await connect(
            server.ws_url(self.path), subprotocols=["hub.v1"], compression=None, ping_interval=None
        )
        known: dict[str, Any] = {}
        if self.hello and not anew:
            numbers = {"epoch": self.epoch, "seq": self.seq, "direct": self.direct}
            known = {"token": self.hello["token"], **numbers}
        await self.send({"type": "connect", **known, **fields})
        self._reader = asyncio.create_task(self._read())
        self.hello = await self.until(lambda frame: frame["type"] == "hello")
        return self

    async def send(self, frame: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(frame))

    async def say(self, data: Any, kind: str = "message") -> int:
        """Send a message and wait until it is acknowledged. Returns its number."""
        self.number += 1
        await self.send({"type": kind, "id": self.number, "data": data})
        await self.until(lambda frame: frame == {"type": "ack", "id": self.number})
        return self.number

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first frame of these among all that came or comes; it is taken out."""
        async with asyncio.timeout(20 * UNIT), self._arrived:
            while True:
                for frame in self.heard:
                    if wanted(frame):
                        self.heard.remove(frame)
                        return frame
                if self.code is not None:
                    raise AssertionError(f"closed with {self.code}; heard {self.heard[-5:]}")
                await self._arrived.wait()

    async def said(self, count: int) -> list[Any]:
        """The data of the next so many messages."""
        return [(await self.until(lambda f: f["type"] == "message"))["data"] for _ in range(count)]

    async def closed(self) -> int:
        await asyncio.wait([self._reader], timeout=20 * UNIT)
        assert self.code is not None
        return self.code

    async def drop(self) -> None:
        """The connection breaks, where there is one: no close frame is sent."""
        self.socket.transport.abort()
        await asyncio.wait([self._reader])

    async def leave(self) -> None:
        await self.socket.close(1000)
        await asyncio.wait([self._reader])

    async def _read(self) -> None:
        try:
            while True:
                text = await self.socket.recv()
                frame = {
                    "type": "message",
                    **(json.loads(text) if isinstance(text, str) else _binary(text)),
                }
                await self._take(frame)
        except ConnectionClosed as closed:
            self.code = closed.rcvd.code if closed.rcvd else 1006
            async with self._arrived:
                self._arrived.notify_all()

    async def _take(self, frame: dict[str, Any]) -> None:
        match frame:
            case {"type": "hello", "epoch": epoch, "seq": seq, "direct": direct}:
                self.epoch, self.seq, self.direct = epoch, seq, direct
            case {"type": "resync", "epoch": epoch, "seq": seq}:
                self.epoch, self.seq = epoch, seq
            case {"seq": seq}:
                if seq <= self.seq:
                    return
                self.seq = seq
            case {"direct": direct}:
                if direct <= self.direct:
                    return
                self.direct = direct
        async with self._arrived:
            self.heard.append(frame)
            self._arrived.notify_all()


def _binary(data: bytes) -> dict[str, Any]:
    head, _, tail = data.partition(b"\n")
    return {**json.loads(head), "data": tail}
