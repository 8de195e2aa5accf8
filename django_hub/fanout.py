"""The fan-out: from one parcel to the sockets of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from time import perf_counter
from typing import TypeAlias

from django_hub import closes, envelopes
from django_hub.batching import Batcher
from django_hub.connection import Connection
from django_hub.entries import Entry, Kind, Scope
from django_hub.filters import Filter
from django_hub.logs import get_logger
from django_hub.messages import Close
from django_hub.receivers import receivers
from django_hub.tallies import tallies
from django_hub.wires.base import Outgoing, Wire

logger = get_logger(__name__)

# A fan-out to many clients lets others run this often, looked at once in so many writes.
_TURN = 0.005
_WRITES = 64
# What waits for the same clients goes to each as one write, of about so many bytes at most.
_JOINED = 64 * 1024
# Parcels, and their bytes, that may wait here before those who send, and the pump, are held up. A sender
# that is faster than the network would else fill its clients' queues before the loop had a look at them.
_BACKLOG = 32
_BACKLOG_BYTES = _JOINED

# Wires of one kind, whose clients speak hub.v1 or not, are written to in one go.
_Kind: TypeAlias = tuple[type[Wire], bool]
_ByKind: TypeAlias = list[tuple[_Kind, list[Wire]]]

# A place in a hub's log: epoch and number.
Position: TypeAlias = tuple[str, int]


class Fanout:
    """The local connections of each hub, and the one order in which all of them are written to.

    Entries with a number in their hub's log are written only where it is known which number comes before
    (`begin`), and none twice.
    """

    def __init__(self) -> None:
        self._hubs: dict[str, _Local] = {}
        # What is no hub of clients, but a log that this process hears for itself.
        self._ears: dict[str, Callable[[Sequence[Entry]], None]] = {}
        self._positions: dict[str, Position] = {}
        self._entries: Batcher[Sequence[Entry], None] = Batcher(self._deliver, most=_BACKLOG)
        self._bytes = 0
        self._turn_ends = 0.0

    def __len__(self) -> int:
        """How many hubs have local connections."""
        return len(self._hubs)

    def __iter__(self) -> Iterator[Connection]:
        for local in list(self._hubs.values()):
            yield from local.all.values()

    def __contains__(self, hub: str) -> bool:
        """Has the hub local connections?"""
        return hub in self._hubs or hub in self._ears

    def listen(self, name: str, ear: Callable[[Sequence[Entry]], None]) -> None:
        """``ear`` is called with all that is written to this log, in its order."""
        self._ears[name] = ear

    def unlisten(self, name: str) -> None:
        self._ears.pop(name, None)

    def hubs(self) -> list[str]:
        """Those that have local connections."""
        return list(self._hubs)

    def size(self, hub: str) -> int:
        """How many local connections a hub has."""
        return len(local.connections) if (local := self._hubs.get(hub)) is not None else 0

    def get(self, hub: str, key: str) -> Connection | None:
        local = self._hubs.get(hub)
        if local is None:
            return None
        return local.connections.get(key) or (local.deaf.get(key) if local.deaf else None)

    def with_sessions(self) -> list[str]:
        """The hubs in which somebody here speaks ``hub.v1``, and the logs this process hears for itself."""
        return [*self._ears, *(hub for hub, local in self._hubs.items() if local.sessions)]

    def add(self, connection: Connection) -> None:
        """The connection gets all that is written from now on. It takes the place of an older one of its
        session; its `position` is the one behind which that is, or will be when it is known."""
        local = self._hubs.get(connection.hub)
        if local is None:
            local = self._hubs[connection.hub] = _Local()
        if connection.session and self.get(connection.hub, connection.key) is None:
            local.sessions += 1
        local.put(connection)
        if not connection.position[0]:
            connection.position = self._positions.get(connection.hub, connection.position)

    def remove(self, connection: Connection) -> None:
        """Nothing, where a newer one has its place."""
        local = self._hubs.get(connection.hub)
        if local is not None and self.get(connection.hub, connection.key) is connection:
            local.drop(connection.key)
            local.sessions -= bool(connection.session)
            if not (local.connections or local.deaf):
                del self._hubs[connection.hub]

    def changed(self, connection: Connection) -> None:
        """The connection has another wire."""
        if (local := self._hubs.get(connection.hub)) is not None:
            local.by_kind = None

    def let_hear(self, connection: Connection, hears: bool) -> None:
        """From now on it gets what is for all of the hub, or only what is for it alone."""
        if connection.hears != hears:
            connection.hears = hears
            local = self._hubs.get(connection.hub)
            if local is not None and self.get(connection.hub, connection.key) is connection:
                local.put(connection)

    def begin(self, hub: str, epoch: str, seq: int) -> None:
        """What is put from now on is above this number."""
        self._positions[hub] = position = (epoch, seq)
        if (local := self._hubs.get(hub)) is not None:
            for connection in local.all.values():
                if not connection.position[0]:
                    connection.position = position

    def position(self, hub: str) -> Position | None:
        """The last number whose writing has begun: who comes now gets all above it. None: not known."""
        return self._positions.get(hub)

    def forget(self, hub: str) -> None:
        """Nobody is there any more: until the next `begin` nothing with a number is written."""
        self._positions.pop(hub, None)

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
        # In one step with the look at who is there.
        entries = self._due(run)
        if entries and (ear := self._ears.get(run.first.hub)) is not None:
            ear(entries)
            return
        local = self._hubs.get(run.first.hub)
        if local is None or not entries:
            return
        if run.first.kind is Kind.WHO:
            for connection in receivers(local.all, run.first):
                connection.become(str(run.first.frame))
            return
        if isinstance(run.first.frame, Close):
            for connection in receivers(local.all, run.first):
                connection.closing()
        told = tallies.fanned_out
        began = 0.0 if told is None else perf_counter()
        made: dict[bool, list[Outgoing]] = {}
        for (kind, enveloped), wires in local.wires(run.first):
            if enveloped not in made:
                made[enveloped] = _enveloped(entries) if enveloped else _raw(entries)
            for outgoing in made[enveloped]:
                tallies.written += len(wires) * len(outgoing.frames)
                tallies.written_bytes += len(wires) * outgoing.size
                for start in range(0, len(wires), _WRITES):
                    kind.write_to_all(wires[start : start + _WRITES], outgoing)
                    await self._let_others()
        if any(entry.kind is Kind.RESYNC and entry.scope is Scope.ALL for entry in entries):
            _begin_anew(local)
        # Also where nobody is meant: to find that out took its time.
        await self._let_others()
        if told is not None:
            told(perf_counter() - began)

    def _due(self, run: _Run) -> list[Entry]:
        """Without those that are of before `begin`; the others' numbers count as written."""
        if not run.numbered:
            return run.entries
        hub = run.first.hub
        position = self._positions.get(hub)
        if position is None:
            return [entry for entry in run.entries if not _is_of_log(entry)]
        epoch, seq = position
        due: list[Entry] = []
        for entry in run.entries:
            if _is_of_log(entry):
                if entry.seq <= seq if entry.epoch == epoch else entry.kind is not Kind.RESYNC:
                    continue
                epoch, seq = entry.epoch, entry.seq
            due.append(entry)
        self._positions[hub] = epoch, seq
        return due

    async def _let_others(self) -> None:
        clock = asyncio.get_running_loop().time
        if clock() > self._turn_ends:
            await asyncio.sleep(0)
            self._turn_ends = clock() + _TURN


class _Local:
    """The connections of one hub."""

    __slots__ = ("by_kind", "connections", "deaf", "sessions")

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        #: Those who get only what is for them alone, apart: looking for them costs a broadcast nothing.
        self.deaf: dict[str, Connection] | None = None
        #: How many of them speak hub.v1.
        self.sessions = 0
        #: The wires of them all, kept for the next broadcast where they are many.
        self.by_kind: _ByKind | None = None

    def wires(self, entry: Entry) -> _ByKind:
        """The wires of those an entry is for. Who joins or leaves meanwhile does not disturb a walk."""
        if self.deaf and (entry.scope is Scope.ONLY or isinstance(entry.frame, Close)):
            return _by_kind(receivers(self.all, entry))
        if entry.scope is not Scope.ALL or entry.filter is not None:
            return _by_kind(receivers(self.connections, entry))
        if self.by_kind is not None:
            return self.by_kind
        by_kind = _by_kind(self.connections.values())
        if len(self.connections) > _WRITES:
            self.by_kind = by_kind
        return by_kind

    @property
    def all(self) -> Mapping[str, Connection]:
        """Both, as they are now."""
        return {**self.connections, **(self.deaf or {})}

    def put(self, connection: Connection) -> None:
        self.drop(connection.key)
        if connection.hears:
            self.connections[connection.key] = connection
        else:
            self.deaf = self.deaf or {}
            self.deaf[connection.key] = connection

    def drop(self, key: str) -> None:
        self.connections.pop(key, None)
        if self.deaf:
            self.deaf.pop(key, None)
        self.by_kind = None


def _begin_anew(local: _Local) -> None:
    """Changes of who is there were missed: each client that keeps the list gets it anew, with a hello."""
    for connection in list(local.connections.values()):
        if connection.presence:
            connection.close(closes.SERVICE_RESTART, "resync")


def _by_kind(connections: Iterable[Connection]) -> _ByKind:
    found: dict[_Kind, list[Wire]] = {}
    for connection in connections:
        wire = connection.wire
        found.setdefault((type(wire), bool(connection.session)), []).append(wire)
    return list(found.items())


def _raw(entries: Sequence[Entry]) -> list[Outgoing]:
    """For those who get the frames as they are."""
    singles = [Outgoing(entry.frame, key=entry.key) for entry in entries if entry.kind is Kind.MESSAGE]
    return [Outgoing.joined(singles)] if singles else []


def _enveloped(entries: Sequence[Entry]) -> list[Outgoing]:
    """For those who speak hub.v1."""
    if isinstance(close := entries[0].frame, Close):
        return [Outgoing(envelopes.closing(close)), Outgoing(close)]
    return [Outgoing.joined([Outgoing(envelopes.of(entry), key=entry.key) for entry in entries])]


def _is_of_log(entry: Entry) -> bool:
    """Has it a number in its hub's log? A hole in a client's own log is told with one that it has not."""
    return bool(entry.epoch) and not (entry.kind is Kind.RESYNC and entry.scope is Scope.ONLY)


class _Run:
    """Entries of a hub that follow each other there and are for the same clients."""

    __slots__ = ("_room", "entries", "first", "numbered")

    def __init__(self, first: Entry) -> None:
        self.numbered = bool(first.epoch)
        self.first = first
        self.entries = [first]
        self._room = 0 if isinstance(first.frame, Close) else _JOINED - first.size

    def takes(self, entry: Entry) -> bool:
        if (
            self._room < entry.size
            or isinstance(entry.frame, Close)
            or Kind.WHO in (entry.kind, self.first.kind)
            or _audience(entry) != _audience(self.first)
        ):
            return False
        self.entries.append(entry)
        self.numbered = self.numbered or bool(entry.epoch)
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
