"""Clients for live tests: a real websocket to the demo's chat or a plain room, and what it has heard."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self
from urllib.parse import quote

import websockets

from tests.live.servers import MS, WebServer

PATIENCE = 10_000 * MS


class ChatClient:
    """Connects with ``async with``; hears with `next`, which fails when nothing comes in time."""

    path = "/ws/chat/"

    def __init__(
        self, server: WebServer, room: str, name: str | None = None, meta: object = None, **options: Any
    ) -> None:
        query = "" if name is None else f"?name={name}"
        if meta is not None:
            query += f"&meta={quote(json.dumps(meta))}"
        self._url = server.ws_url(f"{self.path}{room}/{query}")
        # A client that did not read for long must still find all that was sent to it.
        self._options = {
            "max_queue": None,
            "ping_interval": None,
            "open_timeout": 3 * PATIENCE,  # two hundred at once are let in one after the other
            **options,
        }
        self.name = name
        self.socket: websockets.ClientConnection

    async def __aenter__(self) -> Self:
        self.socket = await websockets.connect(self._url, **self._options)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def say(self, text: str) -> None:
        await self.send({"type": "say", "text": text})

    async def send(self, message: object) -> None:
        await self.socket.send(json.dumps(message, ensure_ascii=False))

    async def next(self) -> Any:
        """The next message: JSON read, binary as it came."""
        async with asyncio.timeout(PATIENCE):
            data = await self.socket.recv()
        return data if isinstance(data, bytes) else json.loads(data)

    async def until(self, **wanted: Any) -> Any:
        """The next message that has these fields; others before it are passed over."""
        while True:
            message = await self.next()
            if isinstance(message, dict) and wanted.items() <= message.items():
                return message

    async def here(self) -> list[str]:
        """Who is here, by the server's answer."""
        await self.send({"type": "who"})
        members: list[str] = (await self.until(type="members"))["members"]
        return members

    async def closed(self) -> int:
        """Wait for the server's close and return its code."""
        async with asyncio.timeout(PATIENCE):
            await self.socket.wait_closed()
        assert self.socket.close_code is not None
        return self.socket.close_code


class RoomClient(ChatClient):
    """A client of a room of `tests.live.rooms`."""

    path = "/ws/room/"


class LoggedClient(ChatClient):
    """A client of the chat whose server writes into its log what it accepted."""

    path = "/ws/logged/"
