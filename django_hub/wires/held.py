"""A wire that is not open yet: what comes for a client waits until it was told what came before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

from django_hub.messages import Close
from django_hub.tallies import tallies
from django_hub.wires.base import Outgoing, Wire


class HeldWire:
    """In front of a client's own wire, until `open`."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._held: list[Outgoing] = []
        self._size = 0
        self._closed = False
        self._opened = False
        self.latest = wire.latest
        self.dropped = 0

    # One owner, who lets go of both at once.

    @property
    def broken(self) -> Callable[[BaseException], None]:
        return self._wire.broken

    @broken.setter
    def broken(self, broken: Callable[[BaseException], None]) -> None:
        self._wire.broken = broken

    @property
    def waits(self) -> Callable[[], None]:
        return self._wire.waits

    @waits.setter
    def waits(self, waits: Callable[[], None]) -> None:
        self._wire.waits = waits

    def open(self) -> Wire:
        """Write what waited, and return the client's own wire, which is to be used from now on."""
        self._opened = True
        for outgoing in self._let_go():
            self._wire.write(outgoing)
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

    @property
    def closed_by_us(self) -> bool:
        return self._closed or self._wire.closed_by_us

    def write(self, outgoing: Outgoing) -> bool:
        if self._opened:
            # A walk over many clients may have begun before; or it is given up, and only a Close goes out.
            return self._wire.write(outgoing)
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
        if self._closed or len(self._held) < 2:
            return False
        self._size -= self._held.pop(0).size
        self.dropped += 1
        tallies.dropped += 1
        return True

    def abandon(self) -> list[str | bytes]:
        self._opened = True
        held = self._let_go()
        undelivered = self._wire.abandon()
        for outgoing in held:
            if outgoing.close is not None:
                self._wire.write(outgoing)
            undelivered += [frame for frame in outgoing.frames if not isinstance(frame, Close)]
        return undelivered

    def _let_go(self) -> list[Outgoing]:
        held, self._held, self._size = self._held, [], 0
        return held

    async def drained(self) -> None:
        await self._wire.drained()

    def abort(self) -> bool:
        return self._wire.abort()
