"""A wire that is not open yet: what comes for a client waits until it was told what came before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

from django_hub.messages import Close
from django_hub.wires.base import Outgoing, Wire


class HeldWire:
    """In front of a client's own wire, until `open`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held: list[Outgoing] = []
        self._size = 0
        self._closed = False
        self.broken: Callable[[BaseException], None] = wire.broken
        self.waits: Callable[[], None] = wire.waits
        self.latest = wire.latest
        self.dropped = 0

    def open(self) -> Wire:
        """Write what waited, and return the client's own wire, which is to be used from now on."""
        for outgoing in self._held:
            self._wire.write(outgoing)
        self._held = []
        return self._wire

    @property
    def waiting_bytes(self) -> int:
        return self._size + self._wire.waiting_bytes

    @property
    def waiting_frames(self) -> int:
        return len(self._held) + self._wire.waiting_frames

    @property
    def closed(self) -> bool:
        return self._closed or self._wire.closed

    def write(self, outgoing: Outgoing) -> bool:
        if self.closed:
            return False
        self._closed = outgoing.close is not None
        self._held.append(outgoing)
        self._size += outgoing.size
        self.waits()
        return True

    @classmethod
    def write_to_all(cls, wires: Iterable[Self], outgoing: Outgoing) -> None:
        for wire in wires:
            wire.write(outgoing)

    def drop_oldest(self) -> bool:
        return False

    def abandon(self) -> list[str | bytes]:
        held = [
            frame for outgoing in self._held for frame in outgoing.frames if not isinstance(frame, Close)
        ]
        closes = [outgoing for outgoing in self._held if outgoing.close is not None]
        self._held = []
        undelivered = [*self._wire.abandon(), *held]
        for close in closes:
            self._wire.write(close)
        return undelivered

    async def drained(self) -> None:
        await self._wire.drained()

    def abort(self) -> bool:
        return self._wire.abort()
