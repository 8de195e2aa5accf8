"""The fan-out: from one parcel to the sockets of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from django_hub.batching import Batcher
from django_hub.connection import Connection
from django_hub.messages import Close, Frame
from django_hub.parcels import Entry, Scope
from django_hub.wires.base import Outgoing

# A fan-out to many clients lets others run this often, looked at once in so many writes.
_TURN = 0.005
_WRITES = 64
# Parcels that may wait here before those who send, and the pump, are held up.
_BACKLOG = 32
# What waits for the same clients goes to each as one write, of about so many bytes at most.
_JOINED = 64 * 1024


class Fanout:
    """The local connections of each hub, and the one order in which all of them are written to."""

    def __init__(self) -> None:
        self._hubs: dict[str, dict[str, Connection]] = {}
        self._entries: Batcher[Sequence[Entry], None] = Batcher(self._deliver, most=_BACKLOG)
        self._turn_ends = 0.0

    def __len__(self) -> int:
        """How many hubs have local connections."""
        return len(self._hubs)

    def __iter__(self) -> Iterator[Connection]:
        for connections in list(self._hubs.values()):
            yield from list(connections.values())

    def add(self, connection: Connection) -> None:
        self._hubs.setdefault(connection.hub, {})[connection.id] = connection

    def remove(self, connection: Connection) -> None:
        connections = self._hubs.get(connection.hub, {})
        connections.pop(connection.id, None)
        if not connections:
            self._hubs.pop(connection.hub, None)

    def put(self, entries: Sequence[Entry]) -> asyncio.Future[None]:
        """Write entries to those they are for, behind all that was put before."""
        return self._entries.put(entries)

    async def room(self) -> None:
        """Return when not too much waits here."""
        await self._entries.at_most(_BACKLOG)

    async def idle(self) -> None:
        await self._entries.idle()

    async def _deliver(self, parcels: Sequence[Sequence[Entry]]) -> Sequence[None]:
        for run in _runs(entry for entries in parcels for entry in entries):
            outgoing = Outgoing(*run.frames)
            for count, connection in enumerate(self._receivers(run.first), 1):
                connection.write(outgoing)
                if not count % _WRITES:
                    await self._let_others()
            await self._let_others()
        return [None] * len(parcels)

    async def _let_others(self) -> None:
        clock = asyncio.get_running_loop().time
        if clock() > self._turn_ends:
            await asyncio.sleep(0)
            self._turn_ends = clock() + _TURN

    def _receivers(self, entry: Entry) -> Iterable[Connection]:
        # A copy: who joins or leaves while others get a turn must not disturb the walk.
        connections = self._hubs.get(entry.hub, {})
        match entry.scope:
            case Scope.ALL:
                return list(connections.values())
            case Scope.ONLY:
                return [connections[key] for key in entry.ids if key in connections]
            case Scope.EXCEPT:
                left_out = frozenset(entry.ids)
                return [c for c in connections.values() if c.client_id not in left_out]


class _Run:
    """Entries of a hub that follow each other there and are for the same clients."""

    __slots__ = ("_room", "first", "frames")

    def __init__(self, first: Entry) -> None:
        self.first = first
        self.frames: list[Frame] = [first.frame]
        self._room = 0 if isinstance(first.frame, Close) else _JOINED - first.size

    def takes(self, entry: Entry) -> bool:
        if (
            self._room < entry.size
            or isinstance(entry.frame, Close)
            or (entry.scope, entry.ids) != (self.first.scope, self.first.ids)
        ):
            return False
        self.frames.append(entry.frame)
        self._room -= entry.size
        return True


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
