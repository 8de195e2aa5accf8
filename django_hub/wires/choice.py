"""Which wire a client gets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from django_hub.wires import daphne
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Wire


def wire_for(send: Callable[[dict[str, Any]], Awaitable[None]]) -> Wire:
    """The wire that knows the server behind ``send``, or the one for any server."""
    protocol = daphne.find_protocol(send)
    if protocol is not None:
        return daphne.DaphneWire(send, protocol)
    return AsgiWire(send)
