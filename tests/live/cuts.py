"""A connection that a test can cut: a proxy that stands before a server."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from tests.live.servers import WebServer, free_port


class Cut:
    """Passes bytes on to a server, until it is cut; the same address then takes nobody until `mend`."""

    host = "127.0.0.1"

    def __init__(self, server: WebServer) -> None:
        self.server = server
        self.port = free_port()
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def http_url(self, path: str = "/") -> str:
        return f"http://{self.host}:{self.port}{path}"

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cut()

    async def mend(self) -> None:
        self._listener = await asyncio.start_server(self._pass_on, self.host, self.port)

    def cut(self) -> None:
        """Nobody says goodbye: both ends see their connection reset."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.drop()

    def drop(self) -> None:
        """The connections there are; new ones are welcome."""
        for writer in self._writers:
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(self.server.host, self.server.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        await asyncio.gather(self._copy(reader, there[1]), self._copy(there[0], writer))
        self._writers -= {writer, there[1]}

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        # What ends on one side ends on both.
        writer.close()
