"""What was accepted, and may not be handled yet: to be told of if the store loses it."""

from __future__ import annotations

from collections.abc import Mapping


class Accepted:
    """Counts the events that this process had accepted, hub by hub, until they are known to be handled.

    When a hub is looked at later, no more of them wait than it has mail. So there are never fewer here than
    are not handled; and not many more than were accepted since the last look.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, hub: str) -> None:
        self._counts[hub] = self._counts.get(hub, 0) + 1

    def now(self) -> dict[str, int]:
        """The counts as they are now; a look that begins after this may settle them."""
        return dict(self._counts)

    def settle(self, counts: Mapping[str, int], waiting: Mapping[str, int]) -> None:
        """Forget what was counted at a moment, but as many as waited in each hub after it."""
        for hub, count in counts.items():
            self._counts[hub] -= max(0, count - waiting.get(hub, 0))
            if not self._counts[hub]:
                del self._counts[hub]
