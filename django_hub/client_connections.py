"""The connections of a hub's client to its server: one, and when that is lost the next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from django_hub import closes
from django_hub.backoff import waits
from django_hub.client_errors import HubClosed
from django_hub.client_frames import BadFrame
from django_hub.client_session import Hello, Session, Told
from django_hub.logs import get_logger

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

logger = get_logger(__name__)

_STEADY = 10.0  # seconds; a connection that lasted this long after its hello starts the waits anew

_Hear = Callable[[Told], None]


class Connections:
    """Of one session. ``bounds`` and ``patience`` are those of `hub_connect`."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        ticket: Callable[[], Awaitable[str]] | None,
        bounds: tuple[float, float],
        patience: float,
        session: Session,
    ) -> None:
        self._url = url
        self._headers = headers
        self._ticket = ticket
        self._bounds = bounds
        self._patience = patience
        self._session = session
        self._to_write = asyncio.Event()
        self._online_since = math.inf

    async def run(self, hear: _Hear) -> HubClosed:
        """One after another, until the server says not to come back: returns how it said so.

        ``hear`` is told what comes, in order. A try that failed is a line in the log.
        """
        loop = asyncio.get_running_loop()
        times = waits(*self._bounds)
        away_since = loop.time()
        level = logging.WARNING
        while True:
            self._online_since = math.inf
            end, again = self._session.ended(*await self._connection(hear))
            if not again:
                return end
            if loop.time() - self._online_since > _STEADY:
                times = waits(*self._bounds)
                away_since = loop.time()
                level = logging.WARNING
            wait = self._wait_of(next(times), loop.time() - away_since)
            told = "No connection to %s: %d %s; tries again in %.1f s"
            logger.log(level, told, _shown(self._url), end.code, end.reason, wait)
            level = logging.INFO
            await asyncio.sleep(wait)

    def write(self) -> None:
        """The session has something to be written."""
        self._to_write.set()

    def _wait_of(self, seconds: float, away: float) -> float:
        """How long to wait after ``away`` seconds, where it would be ``seconds`` by the number of tries."""
        first, most = self._bounds
        if self._session.crowded:
            return max(seconds, most * random.uniform(1 / 8, 1 / 4))  # noqa: S311
        # Not longer than it has been away, nor past the end of its grace: lucky short waits before make no
        # long one now.
        left = self._session.grace - away
        bound = max(first, min(away, left) if left > 0 else away)
        return seconds if seconds <= bound else random.uniform(0, bound)  # noqa: S311

    async def _connection(self, hear: _Hear) -> tuple[int, str]:
        """One connection from its opening to its end: code and reason."""
        from websockets.exceptions import ConnectionClosed

        from django_hub.client_socket import closed, opened

        socket = await opened(self._url, self._headers, self._ticket, self._patience)
        if isinstance(socket, tuple):
            return socket
        code, reason = 1000, ""
        try:
            code, reason = await self._listen(socket, hear)
        except ConnectionClosed as error:
            code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (closes.BROKEN, "")
        finally:
            # With SILENT it leaves a connection it will replace: the server keeps its place for its grace.
            await closed(socket, code if code == closes.SILENT else 1000, reason)
        return code, reason

    async def _listen(self, socket: ClientConnection, hear: _Hear) -> tuple[int, str]:
        """Reads until there is nothing more to hear; raises ConnectionClosed where the server closed."""
        from websockets.exceptions import ConnectionClosed

        loop = asyncio.get_running_loop()
        heartbeat = self._patience
        ping_at = math.inf
        silent_at = loop.time() + self._patience
        writer: asyncio.Task[None] | None = None
        # One that is refused at once is told why before it has said anything: that is still to be read.
        with contextlib.suppress(ConnectionClosed):
            await socket.send(self._session.connect())
        try:
            while True:
                try:
                    async with asyncio.timeout_at(min(ping_at, silent_at)):
                        frame = await socket.recv()
                except TimeoutError:
                    if loop.time() >= silent_at:
                        return closes.SILENT, "nothing heard"
                    # By the writer: a line that takes no more must not keep us from seeing that it is dead.
                    self._session.ping()
                    self.write()
                    silent_at = min(silent_at, loop.time() + 1.5 * heartbeat)
                    ping_at = loop.time() + heartbeat
                    continue
                if writer is not None:
                    silent_at = math.inf
                try:
                    heard = self._session.read(frame)
                except BadFrame as error:
                    return closes.SILENT, str(error)
                for told in heard:
                    if isinstance(told, Hello):
                        heartbeat = told.heartbeat
                        self._online_since = loop.time()
                        ping_at, silent_at = loop.time() + heartbeat, math.inf
                        writer = asyncio.create_task(self._write(socket))
                    hear(told)
        finally:
            if writer is not None:
                writer.cancel()
                await asyncio.wait([writer])

    async def _write(self, socket: ClientConnection) -> None:
        from websockets.exceptions import ConnectionClosed

        # The reader hears of the end too, and says how it was.
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._to_write.clear()
                while (frame := self._session.next_frame()) is not None:
                    await socket.send(frame)
                await self._to_write.wait()


def _shown(url: str) -> str:
    """Without user, password and tokens: they are nobody's business who reads the log."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + parts.path
