"""The `send` of a socket that its consumer may not have accepted yet.

ASGI tells nobody whether a socket was accepted. Where that is not known, a frame is tried: nothing goes
out before the accept. Servers raise then (Daphne, uvicorn, hypercorn), and it waits; or they drop it
without a word (granian), so what was tried is kept. When the consumer, whose own messages pass here too,
accepts, all of it goes behind the accept, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

_Message = dict[str, Any]
_Send = Callable[[_Message], Awaitable[None]]

# Seconds that a consumer has to accept. Daphne gives it 5 by default.
ACCEPT_WITHIN = 10.0
# Frames that are kept until then, or until it is known that they were sent.
_KEPT = 1000


class Handshake:
    """Between a consumer with its wires and the server, from its first `hub_add` on.

    ``real_send`` is what was the consumer's; `wires.choice` finds the server behind it by that name.
    """

    def __init__(self, real_send: _Send) -> None:
        self.real_send = real_send
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[bool] = loop.create_future()
        self._timer = loop.call_later(ACCEPT_WITHIN, self._end, False)
        self._tried: list[_Message] = []
        self._accepting = False
        self._closed = False

    async def say(self, message: _Message) -> None:
        """As the consumer: it accepts, or closes, or sends."""
        if self._over.done() or self._accepting:
            await self.real_send(message)
        elif message["type"] != "websocket.accept":
            await self.real_send(message)
            # A message that went out tells that the socket had been accepted; a close that nothing follows.
            self._end(message["type"] == "websocket.send")
        elif not self._closed:
            self._accepting = True
            try:
                await self.real_send(message)
                for tried in self._tried:
                    await self.real_send(tried)
            finally:
                self._end(True)

    async def send(self, message: _Message) -> None:
        """As a wire. No time-out of asyncio's: the first step may be another task's (see `AsgiWire`)."""
        if self._accepting and not self._over.done():
            await asyncio.shield(self._over)
        if self._over.done():
            await self.real_send(message)
        elif message["type"] == "websocket.close":
            # Before the accept it refuses the socket, and that of the consumer comes too late.
            self._closed = True
            await self.real_send(message)
        else:
            await self._try(message)

    async def _try(self, message: _Message) -> None:
        try:
            await self.real_send(message)
        except Exception:
            if not await asyncio.shield(self._over):
                raise
        else:
            if len(self._tried) < _KEPT:
                self._tried.append(message)
            return
        await self.real_send(message)

    def _end(self, accepted: bool) -> None:
        self._timer.cancel()
        self._tried = []
        with contextlib.suppress(asyncio.InvalidStateError):
            self._over.set_result(accepted)
