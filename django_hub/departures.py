"""Departures: why a socket ends, also as its server says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django_hub import closes
from django_hub.events import Reason
from django_hub.readahead import Receive


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """Why a connection ends, as `events.Left` tells it."""

    reason: Reason
    code: int | None = None
    error: str | None = None


def departure_of(message: dict[str, Any], closed: bool = False) -> Departure:
    """``closed``: we had closed the socket, so that the code is ours, said back."""
    code = message.get("code", 1005)
    if not closed and code == closes.SERVICE_RESTART:
        return Departure(reason="shutdown", code=code)
    if code == closes.BROKEN:
        return Departure(reason="read", code=code, error="the connection broke")
    return Departure(reason="close", code=code)


def departure_waiting(receive: Receive) -> Departure | None:
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
