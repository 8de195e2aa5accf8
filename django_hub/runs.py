"""Runs: entries that go to their clients together."""

from __future__ import annotations

from collections.abc import Iterable

from django_hub.entries import Entry, Kind, Scope
from django_hub.filters import Filter
from django_hub.messages import Close

# What waits for the same clients goes to each as one write, of about so many bytes at most.
MOST_BYTES = 64 * 1024


class Run:
    """Entries of a hub that follow each other there and are for the same clients."""

    __slots__ = ("_room", "entries", "first", "numbered")

    def __init__(self, first: Entry) -> None:
        self.numbered = bool(first.epoch)
        self.first = first
        self.entries = [first]
        self._room = 0 if isinstance(first.frame, Close) else MOST_BYTES - first.size

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


def runs(entries: Iterable[Entry]) -> list[Run]:
    """As few as go without changing the order in any hub."""
    found: list[Run] = []
    last: dict[str, Run] = {}
    for entry in entries:
        run = last.get(entry.hub)
        if run is None or not run.takes(entry):
            run = last[entry.hub] = Run(entry)
            found.append(run)
    return found
