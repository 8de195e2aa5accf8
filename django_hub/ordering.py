"""Ordering: numbered entries on their way to the fan-out, so that all clients of a hub see one order.

A channel layer may lose what it carries, double it, and hand it out in another order than that of the
numbers. What is missing is asked for at the store, which keeps the newest; what that has no more is a hole,
and said to be one (`Kind.RESYNC`).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django_hub.backoff import waits
from django_hub.connection import Connection
from django_hub.entries import Entry, Kind, Scope
from django_hub.exceptions import Unavailable
from django_hub.fanout import Fanout
from django_hub.lines import Line, entries_of
from django_hub.logs import get_logger
from django_hub.names import session_of
from django_hub.recent import Recent
from django_hub.sequences import Sequence as Numbers
from django_hub.stores.base import Store
from django_hub.stores.ops import History, Number
from django_hub.tallies import tallies

logger = get_logger(__name__)

# So long, in seconds, a number may be late before the store is asked for it.
_LATE = 0.1
# So long, in seconds, the recent history of a hub is kept after its last use.
_KEPT = 10.0


class _Hub:
    """All of one hub."""

    __slots__ = ("clients", "log", "reading", "recent", "settling", "told", "until")

    def __init__(self, name: str) -> None:
        self.log = Line(name)
        self.clients: dict[str, Line] = {}
        self.settling: asyncio.Task[None] | None = None
        self.recent: Recent | None = None
        self.reading: asyncio.Task[None] | None = None
        self.until = 0.0
        # `Number.told`, as far as its clients' own logs were compared with the store.
        self.told = 0


class Ordering:
    """In front of the fan-out, for hubs with local connections; what is for others is dropped.

    A number that is late holds up what comes behind it: for 0.1 s, and then until the store has told what
    became of it, but never for more than 1,000 numbers or 4 MiB.
    """

    def __init__(self, store: Store, fanout: Fanout) -> None:
        self._store = store
        self._fanout = fanout
        self._hubs: dict[str, _Hub] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def put(self, entries: Sequence[Entry]) -> None:
        """Entries as they come. They go to the fan-out in the order of their numbers; those that have none
        behind what came before them, in their hub."""
        ready: list[Entry] = []
        for entry in entries:
            hub = self._hubs.get(entry.hub) or self._new(entry.hub)
            if hub is not None:
                self._come(hub, entry, ready)
        if ready:
            self._fanout.put(ready)

    def begin(self, name: str, log: Number) -> None:
        """A client joined when the hub's log had come so far: what follows is for it. So it is known where
        the log begins here, if it was not; until then what comes waits, as a late number does."""
        hub = self._hubs.get(name) or self._new(name)
        if hub is None or hub.log.numbers.at is not None:
            return
        if ready := self._begin(hub, log.epoch, log.seq):
            self._fanout.put(ready)

    @property
    def is_full(self) -> bool:
        return self._fanout.is_full

    async def room(self) -> None:
        await self._fanout.room()

    async def idle(self) -> None:
        """Return when nothing waits here or in the fan-out."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._fanout.idle()

    def forget(self, connection: Connection) -> None:
        """A connection is no longer in the fan-out: let go of what was kept for it, and, with the hub's
        last one here, for the hub."""
        hub = self._hubs.get(connection.hub)
        if hub is None:
            return
        if connection.hub not in self._fanout:
            self.let_go(connection.hub)
        elif self._fanout.get(connection.hub, connection.key) is None:
            line = hub.clients.pop(connection.key, None)
            if line is not None and line.watch is not None:
                line.watch.cancel()

    def let_go(self, name: str) -> None:
        """Nobody hears the hub here any more."""
        hub = self._hubs.pop(name, None)
        self._fanout.forget(name)
        if hub is not None:
            hub.recent = None
            for task in (
                hub.settling,
                hub.reading,
                hub.log.watch,
                *(c.watch for c in hub.clients.values()),
            ):
                if task is not None:
                    task.cancel()

    async def settle(self, name: str) -> None:
        """Return when it is known how far the hub's log has come: `Fanout.position`, and that of its
        connections, are known then. Of a hub without connections here, at once.

        Raises `Unavailable`, `Damaged`.
        """
        while (hub := self._hubs.get(name) or self._new(name)) is not None and not hub.log.numbers.epoch:
            if hub.settling is None:
                hub.settling = self._task(self._settle(hub))
            await _outcome(hub.settling)

    def begin_client(self, connection: Connection, direct: int) -> None:
        """What was sent to this client alone, up to this number, reaches it in another way: what passes
        here is above it. Without this call a client's own log is taken to begin with what comes first."""
        hub = self._hubs.get(connection.hub) or self._new(connection.hub)
        if hub is not None and self._fanout.get(connection.hub, connection.key) is connection:
            line = hub.clients.get(connection.key)
            if line is None:
                line = hub.clients[connection.key] = Line(connection.hub, connection.key)
            self._begin_client(line, direct)

    async def since(self, name: str, epoch: str, seq: int, upto: int) -> list[Entry] | None:
        """The entries of the hub's log above ``seq``, up to ``upto``, in their order. None where not all of
        them are known: they are not kept any more, or ``seq`` is none of this log.

        The store is asked once, however many clients come back at the same time.
        Raises `Unavailable`, `Damaged`.
        """
        while (hub := self._hubs.get(name) or self._new(name)) is not None:
            if hub.recent is not None and hub.reading is None:
                hub.until = asyncio.get_running_loop().time() + _KEPT
                return hub.recent.between(epoch, seq, upto)
            if hub.reading is None:
                hub.recent = Recent()
                hub.reading = self._task(self._read(hub, hub.recent))
            await _outcome(hub.reading)
        return None

    async def look(self) -> None:
        """Compare with the store how far the logs have come of hubs with clients of ``hub.v1``, and the own
        logs of clients that were sent something since the last look: of a lost last number nothing else
        tells. What is missing then comes soon. Raises `Unavailable`."""
        hubs = {
            name: hub
            for name in self._fanout.with_sessions()
            if (hub := self._hubs.get(name)) is not None and hub.log.numbers.at is not None
        }
        if not hubs:
            return
        # Those that come while the store is asked are above what it answers.
        before = {name: hub.log.numbers.at or 0 for name, hub in hubs.items()}
        positions = await self._store.positions(hubs)
        for name, hub in hubs.items():
            if self._hubs.get(name) is not hub:
                continue  # all left meanwhile
            line, number = hub.log, positions.get(name)
            if number is None or number.epoch != line.numbers.epoch or number.seq < before[name]:
                line.numbers.doubtful = True
            else:
                line.ahead = number.seq
            self._watched(line)
        await self._look_at_clients(positions)

    async def _look_at_clients(self, positions: Mapping[str, Number]) -> None:
        # Not to ask for each client each time: most are sent nothing for hours.
        hubs = {
            name: hub
            for name, number in positions.items()
            if (hub := self._hubs.get(name)) is not None and hub.told != number.told
        }
        found = await self._store.told({name: hub.told for name, hub in hubs.items()}) if hubs else {}
        for name, hub in hubs.items():
            if self._hubs.get(name) is not hub:
                continue
            looked = [self._looked_at(hub, *each) for each in found.get(name, {}).items()]
            # Those that are not welcomed yet are looked at again.
            if all(looked):
                hub.told = positions[name].told

    def _looked_at(self, hub: _Hub, connection_id: str, seq: int) -> bool:
        key = session_of(connection_id) or connection_id
        if self._fanout.get(hub.log.hub, key) is None:
            return True
        line = hub.clients.get(key)
        if line is None or not line.begun:
            return False
        if seq < (line.numbers.at or 0):
            # It was put back to an earlier state, or (then the store says so) more has come meanwhile.
            line.numbers.doubtful = True
        else:
            line.ahead = seq
        self._watched(line)
        return True

    # What comes

    def _new(self, name: str) -> _Hub | None:
        if name not in self._fanout:
            return None
        hub = self._hubs[name] = _Hub(name)
        return hub

    def _begin(self, hub: _Hub, epoch: str, seq: int) -> list[Entry]:
        waited = hub.log.numbers.begin(epoch, seq)
        if epoch:
            self._fanout.begin(hub.log.hub, epoch, seq)
        ready: list[Entry] = []
        for entry in waited:
            self._come(hub, entry, ready)
        return ready

    def _adopt(self, line: Line, epoch: str) -> None:
        """Where the log was not there yet when its first client here joined, it is the next that is."""
        numbers = line.numbers
        if not (numbers.epoch or line.key) and numbers.at is not None:
            numbers.epoch = epoch
            self._fanout.begin(line.hub, epoch, numbers.at)

    def _come(self, hub: _Hub, entry: Entry, ready: list[Entry]) -> None:
        log = hub.log
        if entry.epoch:
            if log.numbers.passes(entry):
                ready.append(entry)
                if hub.recent is not None:
                    hub.recent.append((entry,))
            elif log.numbers.at is None:
                self._hold(hub, entry, ready)
            else:
                self._passed(hub, ready, self._take(log, entry))
        elif not len(log.numbers):
            self._passed(hub, ready, (entry,))
        elif log.numbers.at is None:
            self._hold(hub, entry, ready)
        else:
            log.numbers.wait_behind(entry)
            self._passed(hub, ready, self._bounded(log))

    def _hold(self, hub: _Hub, entry: Entry, ready: list[Entry]) -> None:
        hub.log.numbers.hold(entry)
        if hub.log.is_full:
            ready += self._begin_with_first(hub)
        else:
            self._watched(hub.log)

    def _begin_with_first(self, hub: _Hub) -> list[Entry]:
        epoch, seq = hub.log.numbers.first_held
        return self._begin(hub, epoch, seq - 1)

    def _passed(self, hub: _Hub, ready: list[Entry], entries: Iterable[Entry]) -> None:
        """These are through the hub's log, those of a client's own log have it before them."""
        for entry in entries:
            if entry.seq and not entry.epoch and entry.ids:
                ready += self._take_direct(hub, entry)
                continue
            ready.append(entry)
            if hub.recent is not None:
                hub.recent.append((entry,))

    def _take_direct(self, hub: _Hub, entry: Entry) -> Sequence[Entry]:
        key = entry.ids[0]
        line = hub.clients.get(key)
        if line is None:
            if self._fanout.get(entry.hub, key) is None:
                return ()
            line = hub.clients[key] = Line(entry.hub, key)
        if line.numbers.passes(entry):
            return (entry,)
        return self._told(line, self._take(line, entry))

    def _take(self, line: Line, entry: Entry) -> list[Entry]:
        numbers = line.numbers
        self._adopt(line, entry.epoch)
        ready = numbers.take(entry)
        if numbers.holds:
            ready += self._bounded(line)
        self._watched(line)
        return ready

    def _bounded(self, line: Line) -> list[Entry]:
        if not line.is_full:
            return []
        logger.warning(
            "Of hub %s too much waits for a number that does not come; it goes on without", line.hub
        )
        return line.give_up()

    def _begin_client(self, line: Line, direct: int) -> None:
        line.begun = True
        if ready := line.numbers.skip_to(direct):
            self._fanout.put(ready)

    def _told(self, line: Line, ready: Iterable[Entry]) -> list[Entry]:
        """A hole in a client's own log is its own affair, and told with its hub's number."""
        hub = self._hubs.get(line.hub)
        log = Numbers(line.hub) if hub is None else hub.log.numbers
        return [
            replace(entry, scope=Scope.ONLY, ids=(line.key,), epoch=log.epoch, seq=log.at or 0)
            if line.key and entry.kind is Kind.RESYNC
            else entry
            for entry in ready
        ]

    # What does not come

    def _watched(self, line: Line) -> None:
        if line.watch is None and not line.is_settled:
            line.watch = self._task(self._watch(line))

    async def _watch(self, line: Line) -> None:
        """Until the line is settled: see that nothing waits longer than it may."""
        try:
            while not line.is_settled:
                at = line.numbers.at
                if not line.numbers.is_behind:
                    await asyncio.sleep(_LATE)
                # Where it moved on, what is missing now is not late yet.
                if line.numbers.doubtful or line.numbers.at == at:
                    await self._ask(line)
        finally:
            line.watch = None

    async def _ask(self, line: Line) -> None:
        tallies.gaps += 1
        pauses = waits(first=_LATE)
        if not (line.begun or line.numbers.at):
            self._begin_client(line, line.numbers.first - 1)
        if line.numbers.at is None and (ready := self._begin_with_first(self._hubs[line.hub])):
            # Its Join is not answered, or its hub damaged.
            self._fanout.put(ready)
        while not line.is_settled:
            epoch, at = line.numbers.epoch, line.numbers.at or 0
            try:
                history = await self._asked(line, at)
            except Unavailable as error:
                logger.warning(
                    "What comes after number %d of hub %s can't be asked for: %s", at, line.hub, error
                )
                await asyncio.sleep(next(pauses))
                continue
            except Exception:
                logger.exception("Hub %s goes on without what is missing after number %d", line.hub, at)
                history = None
            # It may have gone on without this answer, into another log.
            if line.numbers.epoch == epoch:
                if history is not None:
                    self._adopt(line, history.epoch)
                self._fill(line, history)

    async def _asked(self, line: Line, after: int) -> History | None:
        tallies.history_reads += 1
        if not line.key:
            return await line.history(self._store, after)
        connection = self._fanout.get(line.hub, line.key)
        return None if connection is None else await line.sent(self._store, connection.client_id, after)

    def _fill(self, line: Line, history: History | None) -> None:
        line.ahead = 0
        if history is None:
            ready = line.numbers.give_up()
        elif line.key:
            if history.seq < (line.numbers.at or 0):
                # It was put back to an earlier state, or began anew: there is a hole in front of all of it.
                line.numbers = Numbers(line.hub, "", -1)
            ready = line.numbers.fill("", history.seq, entries_of(line.hub, "", history))
        else:
            ready = line.numbers.fill(
                history.epoch, history.seq, entries_of(line.hub, history.epoch, history)
            )
        tallies.resyncs += sum(entry.kind is Kind.RESYNC for entry in ready)
        passed: list[Entry] = []
        if (hub := self._hubs.get(line.hub)) is not None:
            if line.key:
                passed = self._told(line, ready)
            else:
                self._passed(hub, passed, ready)
        if passed:
            self._fanout.put(passed)

    # What was

    async def _settle(self, hub: _Hub) -> None:
        try:
            history = await self._store.history(hub.log.hub, 0)
            if hub.log.numbers.at is not None:
                self._adopt(hub.log, history.epoch)
            elif ready := self._begin(hub, history.epoch, history.seq):
                self._fanout.put(ready)
        finally:
            hub.settling = None

    async def _read(self, hub: _Hub, recent: Recent) -> None:
        name = hub.log.hub
        try:
            history = await self._store.history(name, 0)
            recent.read(history.epoch, history.seq, entries_of(name, history.epoch, history))
        except BaseException:
            hub.recent = None
            raise
        finally:
            hub.reading = None
        self._keep(hub)

    def _keep(self, hub: _Hub) -> None:
        """Until it was not used for a while."""
        loop = asyncio.get_running_loop()
        if hub.until == 0.0:
            hub.until = loop.time() + _KEPT
        if loop.time() >= hub.until:
            hub.recent, hub.until = None, 0.0
        else:
            loop.call_at(hub.until, self._keep, hub, context=contextvars.Context())

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _outcome(task: asyncio.Task[None]) -> None:
    """Wait for a task that several wait for; raises what it raised, and nothing where it was cancelled."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
