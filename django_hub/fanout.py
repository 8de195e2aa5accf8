"""The fan-out: from one parcel to the sockets of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter
from typing import TypeAlias

from django_hub import closes, envelopes
from django_hub.batching import Batcher
from django_hub.connection import Connection
from django_hub.entries import Entry, Kind, Scope
from django_hub.local import Local
from django_hub.logs import get_logger
from django_hub.messages import Close
from django_hub.receivers import receivers
from django_hub.runs import MOST_BYTES, Run, runs
from django_hub.tallies import tallies
from django_hub.wires.base import Outgoing

logger = get_logger(__name__)

# A fan-out to many clients lets others run this often, looked at once in so many writes.
_TURN = 0.005
_WRITES = 64
# Parcels, and their bytes, that may wait here before those who send, and the pump, are held up. A sender
# that is faster than the network would else fill its clients' queues before the loop had a look at them.
_BACKLOG = 32
_BACKLOG_BYTES = MOST_BYTES

# A place in a hub's log: epoch and number.
Position: TypeAlias = tuple[str, int]


class Fanout:
    """The local connections of each hub, and the one order in which all of them are written to.

    Entries with a number in their hub's log are written only where it is known which number comes before
    (`begin`), and none twice.
    """

    def __init__(self) -> None:
        self._hubs: dict[str, Local] = {}
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
        return len(self._hubs.get(hub, ()))

    def get(self, hub: str, key: str) -> Connection | None:
        return None if (local := self._hubs.get(hub)) is None else local.get(key)

    def with_sessions(self) -> list[str]:
        """The hubs in which somebody here speaks ``hub.v1``, and the logs this process hears for itself."""
        return [*self._ears, *(hub for hub, local in self._hubs.items() if local.sessions)]

    def add(self, connection: Connection) -> None:
        """The connection gets all that is written from now on. It takes the place of an older one of its
        session; its `position` is the one behind which that is, or will be when it is known."""
        local = self._hubs.get(connection.hub)
        if local is None:
            local = self._hubs[connection.hub] = Local()
        local.put(connection)
        if not connection.position[0]:
            connection.position = self._positions.get(connection.hub, connection.position)

    def remove(self, connection: Connection) -> None:
        """Nothing, where a newer one has its place."""
        local = self._hubs.get(connection.hub)
        if local is not None and local.get(connection.key) is connection:
            local.drop(connection.key)
            if not local:
                del self._hubs[connection.hub]

    def changed(self, connection: Connection) -> None:
        """The connection has another wire."""
        if (local := self._hubs.get(connection.hub)) is not None:
            local.changed()

    def let_hear(self, connection: Connection, hears: bool) -> None:
        """From now on it gets what is for all of the hub, or only what is for it alone."""
        if connection.hears != hears:
            connection.hears = hears
            local = self._hubs.get(connection.hub)
            if local is not None and local.get(connection.key) is connection:
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
        for run in runs(entries):
            try:
                await self._write(run)
            except Exception:
                logger.exception("Frames for hub %s could not be written to its clients", run.first.hub)
        return [None] * len(parcels)

    async def _write(self, run: Run) -> None:
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

    def _due(self, run: Run) -> list[Entry]:
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


def _begin_anew(local: Local) -> None:
    """Changes of who is there were missed: each client that keeps the list gets it anew, with a hello."""
    for connection in list(local.hearing):
        if connection.presence:
            connection.close(closes.SERVICE_RESTART, "resync")


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
