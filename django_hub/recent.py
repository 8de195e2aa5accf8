"""The recent part of a hub's log, as this process knows it: for clients that come back and tell what they
heard last."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from django_hub.entries import Entry, Kind

# Bounds of what is added to what was read, which the store bounds.
_ENTRIES = 1000
_BYTES = 4 * 1024 * 1024


class Recent:
    """Entries of one epoch without a gap, all those above the number ``after``. Until it was `read`, it
    gathers what passes."""

    def __init__(self) -> None:
        self._epoch = ""
        self._after = 0
        self._last = -1
        self._entries: deque[Entry] = deque()
        self._size = 0
        self._passed: list[Entry] | None = []
        self._most = _ENTRIES
        self._most_bytes = _BYTES

    def read(self, epoch: str, last: int, kept: Sequence[Entry]) -> None:
        """The log has come to ``last``, and keeps these."""
        self._begin(epoch, last)
        for entry in reversed(kept):
            if entry.seq != self._after:
                break  # what lies between could not be read
            self._entries.appendleft(entry)
            self._after -= 1
            self._size += entry.size
        self._most = max(len(self._entries), _ENTRIES)
        self._most_bytes = max(self._size, _BYTES)
        passed, self._passed = self._passed, None
        self.append(passed or ())

    def append(self, entries: Iterable[Entry]) -> None:
        """What passes, in the order in which all here see it."""
        for entry in entries:
            if not entry.epoch:
                continue
            if self._passed is not None:
                self._passed.append(entry)
            elif entry.epoch != self._epoch:
                # Only a hole leads to another log; what comes late is of the one before.
                if entry.kind is Kind.RESYNC:
                    self._begin(entry.epoch, entry.seq)
            elif entry.seq > self._last:
                if entry.kind is Kind.RESYNC or entry.seq != self._last + 1:
                    self._begin(entry.epoch, entry.seq - (entry.kind is not Kind.RESYNC))
                if entry.kind is not Kind.RESYNC:
                    self._add(entry)

    def is_behind(self, epoch: str, seq: int) -> bool:
        """It has not heard of this number of its log."""
        return epoch == self._epoch and seq > self._last

    def between(self, epoch: str, seq: int, upto: int) -> list[Entry] | None:
        """Those above ``seq``, up to ``upto``; None where not all of them are known, or ``seq`` is not."""
        if epoch != self._epoch or not self._after <= seq <= self._last or upto > self._last:
            return None
        first = seq - self._after
        return [self._entries[place] for place in range(first, first + upto - seq)]

    def _begin(self, epoch: str, at: int) -> None:
        self._epoch = epoch
        self._after = self._last = at
        self._entries.clear()
        self._size = 0

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._last = entry.seq
        self._size += entry.size
        while len(self._entries) > self._most or self._size > self._most_bytes:
            self._size -= self._entries.popleft().size
            self._after += 1
