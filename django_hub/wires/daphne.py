"""The wire for Daphne: what its ASGI door can't say is said to its protocol object.

Daphne's door refuses every close code but 1000 and 3000 to 4999 (Autobahn's rule for applications), drops
the reason of a close, and drops empty messages. The protocol object behind it has none of these limits.

Relied on, as of daphne 4.2.2 and 4.2.3 with Autobahn 24 to 26: the `send` of a websocket application is
``functools.partial(Server.handle_reply, protocol)``, Channels' session middleware keeps it as
``real_send``; the protocol has ``state``, ``STATE_OPEN``, ``sendCloseFrame(code, reasonUtf8)`` and
``sendMessage(payload, isBinary)``. Where any of it is missing the plain wire is used.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django_hub.messages import Close
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Outgoing

logger = logging.getLogger(__name__)

_NEEDED = ("state", "STATE_OPEN", "sendCloseFrame", "sendMessage", "handle_reply")


class DaphneWire(AsgiWire):
    __slots__ = ("_protocol",)

    def __init__(
        self,
        protocol: Any,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        context: contextvars.Context | None = None,
    ) -> None:
        super().__init__(send, context)
        self._protocol = protocol

    def _call(self, outgoing: Outgoing) -> Awaitable[None]:
        if isinstance(outgoing.frame, Close) or not outgoing.size:
            return self._past_the_door(outgoing)
        return super()._call(outgoing)

    async def _past_the_door(self, outgoing: Outgoing) -> None:
        protocol = self._protocol
        if protocol.state != protocol.STATE_OPEN:
            return
        if isinstance(outgoing.frame, Close):
            protocol.sendCloseFrame(outgoing.frame.code, outgoing.frame.reason.encode())
        else:
            protocol.sendMessage(b"", isinstance(outgoing.frame, bytes))


def before_shutdown(leave: Callable[[], Awaitable[None]]) -> None:
    """Have Daphne wait for ``leave`` before it ends.

    By itself it cancels all applications and stops with the first of them that is done: one request
    that waits for nothing would cut short the farewell of all sockets.
    """
    from twisted.internet import defer  # there, since a protocol of it was found
    from twisted.internet import reactor as running

    loop = asyncio.get_running_loop()
    reactor: Any = running

    def leaving() -> Any:
        return defer.Deferred.fromFuture(loop.create_task(_quietly(leave)))

    reactor.addSystemEventTrigger("before", "shutdown", leaving)


async def _quietly(leave: Callable[[], Awaitable[None]]) -> None:
    try:
        await leave()
    except Exception:
        logger.exception("Not all clients left in order; leases do the rest")


def find_protocol(send: Any) -> Any | None:
    """Daphne's protocol object behind an application's `send`, or None where it is another server's."""
    # Middleware nests a few deep; a ring of wrappers must not hang us.
    for _ in range(16):
        if isinstance(send, functools.partial):
            protocol = send.args[0] if len(send.args) == 1 else None
            return protocol if all(hasattr(protocol, name) for name in _NEEDED) else None
        send = getattr(getattr(send, "__self__", None), "real_send", None)
    return None
