"""What a client says while its application takes nothing: kept, and looked at for its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeAlias

# What may wait for the application.
_MESSAGES = 10_000
_BYTES = 1024 * 1024
# And of one whose server stops reading it, before it is read no further.
_KEPT = 100
_KEPT_BYTES = 64 * 1024

_Message: TypeAlias = dict[str, Any]
#: What an ASGI server gives an application to hear its client with.
Receive: TypeAlias = Callable[[], Awaitable[_Message]]


class ReadAhead:
    """The `receive` of a server that goes on reading a client whose application takes nothing.

    Takes all that comes, so that it is known what waits: in the server nobody could see it.

    When too much waits, ``flooded`` is called, once. What waited is dropped then, and what comes after it,
    but not the word that the socket is closed. For the time of a ``with`` block.
    """

    def __init__(self, receive: Receive, flooded: Callable[[], None]) -> None:
        self._receive = receive
        self._flooded = flooded
        self._is_flooded = False
        self._waiting: deque[_Message] = deque()
        self._bytes = 0
        self._more = asyncio.Event()

    def __enter__(self) -> Self:
        self._task = asyncio.create_task(self._take())
        self._task.add_done_callback(lambda _: self._more.set())
        return self

    def __exit__(self, *_: object) -> None:
        self._task.cancel()

    async def __call__(self) -> _Message:
        while not self._waiting:
            if self._task.done():
                self._task.result()  # raises what `receive` raised
            self._more.clear()
            await self._more.wait()
        message = self._waiting.popleft()
        self._bytes -= _size(message)
        return message

    async def _take(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] != "websocket.receive" or not self._is_flooded:
                self._waiting.append(message)
                self._bytes += _size(message)
                self._more.set()
            # A single message may be larger than what else may wait: its size has a bound of its own.
            if len(self._waiting) > 1 and (len(self._waiting) > _MESSAGES or self._bytes > _BYTES):
                self._waiting.clear()
                self._bytes = 0
                self._is_flooded = True
                self._flooded()


class SocketEnded(Exception):
    """Nobody is there any more to wait for."""


class Meanwhile:
    """The `receive` of an application that has to wait for something else, and hears when that is in vain.

    What the client says while it waits is kept, up to a bound, and comes first afterwards. Where more is
    said nothing further is read, and the end not heard.
    """

    __slots__ = ("_bytes", "_kept", "_next", "_receive")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        # Made when first needed: most never wait.
        self._kept: deque[_Message] | None = None
        self._bytes = 0
        # Never given up: what was taken from the server would be lost with it.
        self._next: asyncio.Task[_Message] | None = None

    @property
    def has_waited(self) -> bool:
        return self._kept is not None

    async def sleep(self, seconds: float) -> None:
        """Raises `SocketEnded`, and what `receive` raises."""
        if self._kept is None:
            self._kept = deque()
        clock = asyncio.get_running_loop().time
        ends = clock() + seconds
        while (left := ends - clock()) > 0:
            if len(self._kept) >= _KEPT or self._bytes >= _KEPT_BYTES:
                await asyncio.sleep(left)
                return
            if self._next is None:
                self._next = asyncio.create_task(self._take())
            await asyncio.wait([self._next], timeout=left)
            if self._next.done():
                message = self._next.result()
                self._next = None
                self._kept.append(message)
                self._bytes += _size(message)
                if message["type"] == "websocket.disconnect":
                    raise SocketEnded

    async def __call__(self) -> _Message:
        if self._kept:
            return self._kept.popleft()
        if self._next is not None:
            taken, self._next = self._next, None
            return await taken
        return await self._receive()

    def close(self) -> None:
        if self._next is not None:
            self._next.cancel()

    async def _take(self) -> _Message:
        return await self._receive()


def _size(message: _Message) -> int:
    return len(message.get("text") or message.get("bytes") or "")
