"""The `receive` of a server that goes on reading a client whose application takes nothing."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

# What may wait for the application.
_MESSAGES = 10_000
_BYTES = 1024 * 1024

_Message = dict[str, Any]


class ReadAhead:
    """Takes all that comes, so that it is known what waits: in the server nobody could see it.

    When too much waits, ``flooded`` is called, once. What waited is dropped then, and what comes after it,
    but not the word that the socket is closed. For the time of a ``with`` block.
    """

    def __init__(self, receive: Callable[[], Awaitable[_Message]], flooded: Callable[[], None]) -> None:
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


def _size(message: _Message) -> int:
    return len(message.get("text") or message.get("bytes") or "")
