"""Orders: what is said in one hub, in the one order in which all its clients here are to hear it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

from django_hub.backoff import waits
from django_hub.entries import Entry, Kind, Scope
from django_hub.exceptions import Unavailable
from django_hub.fanout import Fanout
from django_hub.lines import Line
from django_hub.logs import get_logger
from django_hub.names import session_of
from django_hub.recall import Recall
from django_hub.stores.base import Store
from django_hub.stores.ops import History, Number
from django_hub.tallies import tallies
from django_hub.tasks import Tasks, outcome

logger = get_logger(__name__)

# So long, in seconds, a number may be late before the store is asked for it.
_LATE = 0.1


class Order:
    """One hub's: the line of its log, and behind it those of its clients' own logs.

    What is missing in a line is late for a while, and then asked for at the store. There is a task only
    while something is missing.
    """

    __slots__ = ("_clients", "_fanout", "_hub", "_log", "_recall", "_settling", "_store", "_tasks", "told")

    def __init__(self, hub: str, store: Store, fanout: Fanout, tasks: Tasks) -> None:
        self._hub = hub
        self._store = store
        self._fanout = fanout
        self._tasks = tasks
        self._log = Line(hub)
        self._clients: dict[str, Line] = {}
        self._recall: Recall | None = None
        self._settling: asyncio.Task[None] | None = None
        #: `Number.told`, as far as its clients' own logs were compared with the store.
        self.told = 0

    @property
    def epoch(self) -> str:
        """That of its log; ``""``: not known yet, or there was no log."""
        return self._log.numbers.epoch

    @property
    def at(self) -> int | None:
        """The last number of its log that went on; None: it is not known where the log begins here."""
        return self._log.numbers.at

    def put(self, entry: Entry, ready: list[Entry]) -> None:
        """An entry as it comes. All that goes on now is added to ``ready``, which is for the fan-out."""
        log = self._log
        if entry.epoch:
            if log.numbers.passes(entry):
                ready.append(entry)
                if self._recall is not None:
                    self._recall.passed(entry)
            elif log.numbers.at is None:
                self._hold(entry, ready)
            else:
                self._adopt(entry.epoch)
                self._passed(ready, self._take(log, entry))
        elif not len(log.numbers):
            self._passed(ready, (entry,))
        elif log.numbers.at is None:
            self._hold(entry, ready)
        else:
            self._passed(ready, log.wait_behind(entry))

    def begin(self, log: Number) -> None:
        """See `Ordering.begin`."""
        if self.at is None:
            self._write(self._begin(log.epoch, log.seq))

    async def settle(self) -> None:
        """Return when the epoch is known, or it ended meanwhile. Raises `Unavailable`, `Damaged`."""
        if self._settling is None:
            self._settling = self._tasks.begin(self._settle())
        await outcome(self._settling)

    async def since(self, epoch: str, seq: int, upto: int) -> list[Entry] | None:
        """See `Ordering.since`."""
        if self._recall is None:
            self._recall = Recall(self._hub, self._store, self._tasks)
        return await self._recall.between(epoch, seq, upto)

    def begin_client(self, key: str, direct: int) -> None:
        """See `Ordering.begin_client`."""
        self._begin_client(self._line_of(key), direct)

    def forget_client(self, key: str) -> None:
        if (line := self._clients.pop(key, None)) is not None:
            line.end()

    def look(self, number: Number | None, at: int) -> None:
        """The store says where the log is; None: there is none. When it was asked, it was ``at`` here."""
        if number is not None and number.epoch != self.epoch:
            number = None
        self._log.look(None if number is None else number.seq, at)
        self._watched(self._log)

    def look_at_clients(self, found: Mapping[str, int], told: int) -> None:
        """The store says how far the clients' own logs are, of those that were published to up to
        ``told``."""
        looked = [self._looked_at(*each) for each in found.items()]
        # Those that are not welcomed yet are looked at again.
        if all(looked):
            self.told = told

    def end(self) -> None:
        """Nobody hears the hub here any more."""
        for line in (self._log, *self._clients.values()):
            line.end()
        if self._settling is not None:
            self._settling.cancel()
        if self._recall is not None:
            self._recall.end()

    # What comes

    def _begin(self, epoch: str, seq: int) -> list[Entry]:
        waited = self._log.numbers.begin(epoch, seq)
        if epoch:
            self._fanout.begin(self._hub, epoch, seq)
        ready: list[Entry] = []
        for entry in waited:
            self.put(entry, ready)
        return ready

    def _adopt(self, epoch: str) -> None:
        """Where the log was not there yet when its first client here joined, it is the next that is."""
        numbers = self._log.numbers
        if not numbers.epoch and numbers.at is not None:
            numbers.epoch = epoch
            self._fanout.begin(self._hub, epoch, numbers.at)

    def _hold(self, entry: Entry, ready: list[Entry]) -> None:
        self._log.numbers.hold(entry)
        if self._log.is_full:
            ready += self._begin_with_first()
        else:
            self._watched(self._log)

    def _begin_with_first(self) -> list[Entry]:
        epoch, seq = self._log.numbers.first_held
        return self._begin(epoch, seq - 1)

    def _passed(self, ready: list[Entry], entries: Iterable[Entry]) -> None:
        """These are through the hub's log, those of a client's own log have it before them."""
        for entry in entries:
            if entry.seq and not entry.epoch and entry.ids:
                self._take_direct(entry, ready)
                continue
            ready.append(entry)
            if self._recall is not None:
                self._recall.passed(entry)

    def _take_direct(self, entry: Entry, ready: list[Entry]) -> None:
        key = entry.ids[0]
        if key not in self._clients and self._fanout.get(self._hub, key) is None:
            return
        line = self._line_of(key)
        if line.numbers.passes(entry):
            ready.append(entry)
        else:
            ready += self._told(line, self._take(line, entry))

    def _take(self, line: Line, entry: Entry) -> list[Entry]:
        ready = line.take(entry)
        self._watched(line)
        return ready

    def _line_of(self, key: str) -> Line:
        line = self._clients.get(key)
        if line is None:
            line = self._clients[key] = Line(self._hub, key)
        return line

    def _begin_client(self, line: Line, direct: int) -> None:
        line.begun = True
        self._write(line.numbers.skip_to(direct))

    def _told(self, line: Line, ready: Iterable[Entry]) -> list[Entry]:
        """A hole in a client's own log is its own affair, and told with its hub's number."""
        epoch, seq = self.epoch, self.at or 0
        return [
            replace(entry, scope=Scope.ONLY, ids=(line.key,), epoch=epoch, seq=seq)
            if entry.kind is Kind.RESYNC
            else entry
            for entry in ready
        ]

    def _write(self, ready: list[Entry]) -> None:
        if ready:
            self._fanout.put(ready)

    # What does not come

    def _watched(self, line: Line) -> None:
        if line.watch is None and not line.is_settled:
            line.watch = self._tasks.begin(self._watch(line))

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
        if line.numbers.at is None:
            # Its Join is not answered, or its hub damaged.
            self._write(self._begin_with_first())
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
            # It may have gone on without this answer, into another log; or nobody hears it any more.
            if line.numbers.epoch == epoch and not line.is_over:
                self._fill(line, history)

    async def _asked(self, line: Line, after: int) -> History | None:
        tallies.history_reads += 1
        if not line.key:
            return await line.history(self._store, after)
        connection = self._fanout.get(self._hub, line.key)
        return None if connection is None else await line.sent(self._store, connection.client_id, after)

    def _fill(self, line: Line, history: History | None) -> None:
        if not line.key and history is not None:
            self._adopt(history.epoch)
        filled = line.fill(history)
        tallies.resyncs += sum(entry.kind is Kind.RESYNC for entry in filled)
        ready: list[Entry] = []
        if line.key:
            ready = self._told(line, filled)
        else:
            self._passed(ready, filled)
        self._write(ready)

    def _looked_at(self, connection_id: str, seq: int) -> bool:
        key = session_of(connection_id) or connection_id
        if self._fanout.get(self._hub, key) is None:
            return True
        line = self._clients.get(key)
        if line is None or not line.begun:
            return False
        # Where ours is above, the log was put back; or more has come meanwhile, and then the store says so.
        line.look(seq, line.numbers.at or 0)
        self._watched(line)
        return True

    async def _settle(self) -> None:
        try:
            history = await self._store.history(self._hub, 0)
            if self._log.is_over:
                return  # who comes next begins elsewhere
            if self.at is not None:
                self._adopt(history.epoch)
            else:
                self._write(self._begin(history.epoch, history.seq))
        finally:
            self._settling = None
