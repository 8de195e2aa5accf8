"""The fan-out: from one parcel to the sockets of this process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from django_hub.batching import Batcher
from django_hub.connection import Connection
from django_hub.filters import Filter
from django_hub.messages import Close
from django_hub.parcels import Entry, Scope
from django_hub.receivers import receivers
from django_hub.wires.base import Outgoing, Wire

logger = logging.getLogger(__name__)

# A fan-out to many clients lets others run this often, looked at once in so many writes.
_TURN = 0.005
_WRITES = 64
# What waits for the same clients goes to each as one write, of about so many bytes at most.
_JOINED = 64 * 1024
# Parcels, and their bytes, that may wait here before those who send, and the pump, are held up. A sender
# that is faster than the network would else fill its clients' queues before the loop had a look at them.
_BACKLOG = 32
_BACKLOG_BYTES = _JOINED

# Wires of one kind are written to in one go.
_ByKind: TypeAlias = list[tuple[type[Wire], list[Wire]]]


class Fanout:
    """The local connections of each hub, and the one order in which all of them are written to."""

    def __init__(self) -> None:
        self._hubs: dict[str, _Local] = {}
        self._entries: Batcher[Sequence[Entry], None] = Batcher(self._deliver, most=_BACKLOG)
        self._bytes = 0
        self._turn_ends = 0.0

    def __len__(self) -> int:
        """How many hubs have local connections."""
        return len(self._hubs)

    def __iter__(self) -> Iterator[Connection]:
        for local in list(self._hubs.values()):
            yield from list(local.connections.values())

    def add(self, connection: Connection) -> None:
        local = self._hubs.get(connection.hub)
        if local is None:
            local = self._hubs[connection.hub] = _Local()
        local.connections[connection.id] = connection
        local.by_kind = None

    def remove(self, connection: Connection) -> None:
        local = self._hubs.get(connection.hub)
        if local is not None:
            local.connections.pop(connection.id, None)
            local.by_kind = None
            if not local.connections:
                del self._hubs[connection.hub]

    def put(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Write entries to those they are for, behind all that was put before. What fails is logged."""
        self._bytes += sum(entry.size for entry in entries)
        return self._entries.put(entries)

    @property
    def is_full(self) -> bool:
        """So much waits here that nobody should add to it."""
        return len(self._entries) > _BACKLOG or self._bytes > _BACKLOG_BYTES

    async def room(self) -> None:
        """Return when not too much waits here."""
        # One that was cancelled, with its loop, leaves what it had not written: nobody takes that any more.
        while self.is_full and not self._entries.is_idle:
            await self._entries.taken()

    async def idle(self) -> None:
        await self._entries.idle()

    async def _deliver(self, parcels: Sequence[Sequence[Entry]]) -> Sequence[None]:
        entries = [entry for parcel in parcels for entry in parcel]
        self._bytes -= sum(entry.size for entry in entries)
        for run in _runs(entries):
            try:
                await self._write(run)
            except Exception:
                logger.exception("Frames for hub %s could not be written to its clients", run.first.hub)
        return [None] * len(parcels)

    async def _write(self, run: _Run) -> None:
        local = self._hubs.get(run.first.hub)
        if local is None:
            return
        outgoing = Outgoing.joined([Outgoing(entry.frame, key=entry.key) for entry in run.entries])
        for kind, wires in local.wires(run.first):
            for start in range(0, len(wires), _WRITES):
                kind.write_to_all(wires[start : start + _WRITES], outgoing)
                await self._let_others()
        # Also where nobody is meant: to find that out took its time.
        await self._let_others()

    async def _let_others(self) -> None:
        clock = asyncio.get_running_loop().time
        if clock() > self._turn_ends:
            await asyncio.sleep(0)
            self._turn_ends = clock() + _TURN


class _Local:
    """The connections of one hub."""

    __slots__ = ("by_kind", "connections")

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        #: The wires of them all, kept for the next broadcast where they are many.
        self.by_kind: _ByKind | None = None

    def wires(self, entry: Entry) -> _ByKind:
        """The wires of those an entry is for. Who joins or leaves meanwhile does not disturb a walk."""
        if entry.scope is not Scope.ALL or entry.filter is not None:
            return _by_kind(receivers(self.connections, entry))
        if self.by_kind is not None:
            return self.by_kind
        by_kind = _by_kind(self.connections.values())
        if len(self.connections) > _WRITES:
            self.by_kind = by_kind
        return by_kind


def _by_kind(connections: Iterable[Connection]) -> _ByKind:
    found: dict[type[Wire], list[Wire]] = {}
    for connection in connections:
        found.setdefault(type(connection.wire), []).append(connection.wire)
    return list(found.items())


class _Run:
    """Entries of a hub that follow each other there and are for the same clients."""

    __slots__ = ("_room", "entries", "first")

    def __init__(self, first: Entry) -> None:
        self.first = first
        self.entries = [first]
        self._room = 0 if isinstance(first.frame, Close) else _JOINED - first.size

    def takes(self, entry: Entry) -> bool:
        if (
            self._room < entry.size
            or isinstance(entry.frame, Close)
            or _audience(entry) != _audience(self.first)
        ):
            return False
        self.entries.append(entry)
        self._room -= entry.size
        return True


def _audience(entry: Entry) -> tuple[Scope, tuple[str, ...], Filter | None]:
    return entry.scope, entry.ids, entry.filter


def _runs(entries: Iterable[Entry]) -> list[_Run]:
    """As few as go without changing the order in any hub."""
    runs: list[_Run] = []
    last: dict[str, _Run] = {}
    for entry in entries:
        run = last.get(entry.hub)
        if run is None or not run.takes(entry):
            run = last[entry.hub] = _Run(entry)
            runs.append(run)
    return runs
