"""What a server says of a socket's end, as a `Departure`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django_hub.connection import Departure

# What a server that is going away tells its sockets' applications (uvicorn does; daphne cancels them).
CLOSE_SERVICE_RESTART = 1012

# A connection that ended without a close frame (RFC 6455, 7.1.5).
_BROKEN = 1006


def departure_of(message: dict[str, Any]) -> Departure:
    code = message.get("code", 1005)
    if code == CLOSE_SERVICE_RESTART:
        return Departure(reason="shutdown", code=code)
    if code == _BROKEN:
        return Departure(reason="read", code=code, error="the connection broke")
    return Departure(reason="close", code=code)


def departure_waiting(receive: Callable[[], Awaitable[dict[str, Any]]]) -> Departure | None:
    """The departure among what the server has for us already, without waiting."""
    while True:
        steps = receive().__await__()
        try:
            next(iter(steps))
        except StopIteration as received:
            if received.value["type"] == "websocket.disconnect":
                return departure_of(received.value)
        else:
            return None
