"""A sequence: numbered entries, in whatever order they come, made into one order without holes."""

from __future__ import annotations

from collections.abc import Iterable

from django_hub.entries import Entry, Kind
from django_hub.jsontext import JsonText

# Of another log, so many are kept until the store says which of the two it is.
_MOST = 1000


class Sequence:
    """Of one log. It begins behind the number it is told (`begin`); what comes before that waits.

    ``at``: the last number that was let through. What comes too early waits until what is before it has
    come, or is known not to come any more (`fill`).
    """

    __slots__ = ("_early", "_foreign", "_hub", "at", "doubtful", "epoch", "size")

    def __init__(self, hub: str, epoch: str = "", at: int | None = None) -> None:
        self._hub = hub
        self.epoch = epoch
        self.at = at
        self._early: dict[int, list[Entry]] = {}
        self._foreign: list[Entry] = []
        #: Something came that does not fit: the log itself is to be asked.
        self.doubtful = False
        #: Bytes that wait.
        self.size = 0

    def __len__(self) -> int:
        """How many numbers wait."""
        return len(self._foreign if self.at is None else self._early)

    @property
    def is_settled(self) -> bool:
        """Nothing waits, and nothing is to be asked."""
        return not (self._early or self.doubtful)

    @property
    def is_behind(self) -> bool:
        """Something of another log waits: nothing that could still come lets it through."""
        return self.at is not None and bool(self._foreign)

    def begin(self, epoch: str, seq: int) -> list[Entry]:
        """What comes is above this number. Returns all that came before this was known, to be taken now."""
        waited, self._foreign = self._foreign, []
        self.epoch, self.at, self.doubtful, self.size = epoch, seq, False, 0
        return waited

    def hold(self, entry: Entry) -> None:
        """It is not known yet where the log begins."""
        self._foreign.append(entry)
        self.size += entry.size
        self.doubtful = True

    @property
    def holds(self) -> bool:
        """Entries wait here."""
        return bool(self._early or self._foreign)

    def passes(self, entry: Entry) -> bool:
        """The entry is the next, and nothing waits: it is let through. False: `take` it."""
        if entry.seq - 1 != self.at or entry.epoch != self.epoch or self._early or self.doubtful:
            return False
        self.at = entry.seq
        return True

    def take(self, entry: Entry) -> list[Entry]:
        """What can be let through, now that this has come."""
        if entry.epoch != self.epoch:
            # Of a new log, or late and of an old one.
            self.doubtful = True
            if len(self._foreign) < _MOST:
                self._foreign.append(entry)
                self.size += entry.size
            return []
        at = self.at or 0
        if entry.seq <= at:
            # A repeat, or of a log that was put back to an earlier state.
            self.doubtful = True
            return []
        if entry.seq > at + 1:
            if entry.seq not in self._early:
                self._early[entry.seq] = [entry]
                self.size += entry.size
            return []
        self.at = at + 1
        return [entry, *self._released()]

    def skip_to(self, seq: int) -> list[Entry]:
        """All up to this number was seen to elsewhere. What can be let through now."""
        self.at = max(self.at or 0, seq)
        self._early = {number: entries for number, entries in self._early.items() if number > self.at}
        self._weigh()
        return self._released()

    @property
    def first(self) -> int:
        """The lowest number that waits; there is one."""
        return min(self._early)

    @property
    def first_held(self) -> tuple[str, int]:
        """The lowest number of those that `hold` was given, with its epoch: the newest one's."""
        epoch = next(entry.epoch for entry in reversed(self._foreign) if entry.epoch)
        return epoch, min(entry.seq for entry in self._foreign if entry.epoch == epoch)

    def wait_behind(self, entry: Entry) -> None:
        """Something without a number, said after what waits."""
        self._early[max(self._early)].append(entry)
        self.size += entry.size

    def fill(self, epoch: str, last: int, kept: Iterable[Entry]) -> list[Entry]:
        """Go on to ``last``, the log's newest number, with what it has ``kept``.

        A hole stands in the answer as an entry of kind `Kind.RESYNC`, in front of what is behind it.
        """
        ready: list[Entry] = []
        at = self.at or 0
        # Behind a number that never is: the first of a new log is behind a hole.
        expected = at + 1 if epoch == self.epoch else -1
        if epoch != self.epoch:
            ready = self._left_over(at)
            at, self._early = 0, {}
        known = {entry.seq: [entry] for entry in (*self._foreign, *kept) if entry.epoch == epoch}
        known |= self._early
        for seq in sorted(seq for seq in known if at < seq <= last):
            if seq != expected:
                ready.append(self._hole(epoch, seq - 1))
            ready.extend(known[seq])
            expected = seq + 1
        if expected != last + 1 and last >= at:
            ready.append(self._hole(epoch, last))
        self.epoch, self.at = epoch, max(at, last)
        # What came while the log was asked.
        self._early = {seq: entries for seq, entries in known.items() if seq > self.at}
        self._foreign = []
        self.doubtful = False
        self._weigh()
        return [*ready, *self._released()]

    def give_up(self) -> list[Entry]:
        """Go on with what has come, as if nothing else were kept."""
        if self._foreign:
            # So much that waits is of the new log, and not late and of an old one.
            epoch = self._foreign[-1].epoch
            return self.fill(epoch, max(each.seq for each in self._foreign if each.epoch == epoch), ())
        return self.fill(self.epoch, max(self._early, default=self.at or 0), ())

    def _left_over(self, at: int) -> list[Entry]:
        """What waits behind this number of a log that is no more."""
        left: list[Entry] = []
        for seq in sorted(self._early):
            if seq != at + 1:
                left.append(self._hole(self.epoch, seq - 1))
            left.extend(self._early[seq])
            at = seq
        return left

    def _released(self) -> list[Entry]:
        released: list[Entry] = []
        while self.at is not None and (entries := self._early.pop(self.at + 1, None)):
            self.at += 1
            self.size -= sum(entry.size for entry in entries)
            released.extend(entries)
        return released

    def _weigh(self) -> None:
        waiting = (*self._early.values(), self._foreign)
        self.size = sum(entry.size for entries in waiting for entry in entries)

    def _hole(self, epoch: str, seq: int) -> Entry:
        return Entry(self._hub, JsonText("{}"), epoch=epoch, seq=seq, kind=Kind.RESYNC)
