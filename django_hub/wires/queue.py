"""What waits for one client, behind what its socket is busy with: single frames, oldest first."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from django_hub.wires.base import Outgoing


class Queue:
    """All that came, in its order. ``size``: its bytes of payload."""

    __slots__ = ("_singles", "size")

    def __init__(self) -> None:
        self._singles: deque[Outgoing] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._singles)

    def __iter__(self) -> Iterator[Outgoing]:
        return iter(self._singles)

    def append(self, single: Outgoing) -> int:
        """How many others it took the place of."""
        self._singles.append(single)
        self.size += single.size
        return 0

    def pop(self) -> Outgoing:
        """Take the oldest."""
        single = self._singles.popleft()
        self.size -= single.size
        return single

    def oldest(self) -> Outgoing:
        return self._singles[0]


class Latest:
    """As `Queue`, but what comes with a key takes the place of an older one with that key, at the end.

    An ordered dict and not a deque: an entry takes a dozen times the memory, and is found at once.
    """

    __slots__ = ("_count", "_singles", "size")

    def __init__(self) -> None:
        self._singles: OrderedDict[str | int, Outgoing] = OrderedDict()
        self._count = 0
        self.size = 0

    def __len__(self) -> int:
        return len(self._singles)

    def __iter__(self) -> Iterator[Outgoing]:
        return iter(self._singles.values())

    def append(self, single: Outgoing) -> int:
        """How many others it took the place of."""
        self._count += 1
        key = single.key or self._count
        older = self._singles.pop(key, None)
        self._singles[key] = single
        self.size += single.size
        if older is None:
            return 0
        self.size -= older.size
        return 1

    def pop(self) -> Outgoing:
        """Take the oldest."""
        _, single = self._singles.popitem(last=False)
        self.size -= single.size
        return single

    def oldest(self) -> Outgoing:
        return next(iter(self._singles.values()))
