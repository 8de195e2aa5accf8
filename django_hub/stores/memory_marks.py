"""What the memory store remembers for a while: who is banned, which tickets are spent."""

from __future__ import annotations

import heapq


class Marks:
    """Texts by key, each for so long. The caller holds the store's lock, and tells the time."""

    def __init__(self) -> None:
        self._marks: dict[tuple[str, ...], tuple[str, float]] = {}
        # When each is over, soonest first; those that were set anew or taken away are in it, too.
        self._ends: list[tuple[float, tuple[str, ...]]] = []

    def __len__(self) -> int:
        return len(self._marks)

    def put(self, key: tuple[str, ...], text: str, until: float, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            _, over = heapq.heappop(self._ends)
            if self.get(over, now) is None:
                self._marks.pop(over, None)
        self._marks[key] = text, until
        heapq.heappush(self._ends, (until, key))

    def get(self, key: tuple[str, ...], now: float) -> str | None:
        text, until = self._marks.get(key, ("", 0.0))
        return text if until > now else None

    def take(self, key: tuple[str, ...], now: float) -> bool:
        """False: it was not there."""
        there = self.get(key, now) is not None
        self._marks.pop(key, None)
        return there
