"""Which wire a client gets."""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from typing import Any

from django_hub.wires import daphne
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Wire

_Leave = Callable[[], Awaitable[None]]


class Wires:
    """Chooses wires for the clients of one relay; ``leave`` is called when their server ends."""

    def __init__(self, leave: _Leave) -> None:
        self._leave = leave
        self._daphne_told = False

    def wire_for(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        context: contextvars.Context | None = None,
    ) -> Wire:
        """The wire that knows the server behind ``send``, or the one for any server.

        ``context`` is that in which ``send`` is called; None: a copy of the caller's.
        """
        protocol = daphne.find_protocol(send)
        if protocol is None:
            return AsgiWire(send, context)
        if not self._daphne_told:
            self._daphne_told = True
            daphne.before_shutdown(self._leave)
        return daphne.DaphneWire(protocol, send, context)
