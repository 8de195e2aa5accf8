"""The memory store's handled events, for who looks at them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from django_hub.stores.ops import Letter
from django_hub.stores.survey import TAIL_CHARACTERS, TAIL_KEPT, TAIL_TTL, Handled, Tail


class _Box:
    __slots__ = ("dropped", "items", "until")

    def __init__(self) -> None:
        self.items: deque[Handled] = deque(maxlen=TAIL_KEPT)
        self.dropped = 0
        self.until = 0.0


class Tails:
    """Empty, and false, while nobody looks."""

    def __init__(self) -> None:
        self._boxes: dict[str, _Box] = {}

    def __bool__(self) -> bool:
        return bool(self._boxes)

    def add(self, hub: str, letters: Iterable[Letter], failed: set[int], now: float) -> None:
        box = self._boxes.get(hub)
        if box is None or box.until <= now:
            self._boxes.pop(hub, None)
            return
        for letter in letters:
            if len(box.items) == TAIL_KEPT:
                box.dropped = box.items[0].position
            box.items.append(
                Handled(
                    position=letter.position,
                    client_id=letter.client_id,
                    body=letter.body[:TAIL_CHARACTERS],
                    failed=letter.position in failed,
                )
            )

    def read(self, hub: str, after: int | None, most: int, now: float) -> Tail:
        self.sweep(now)
        box = self._boxes.setdefault(hub, _Box())
        box.until = now + TAIL_TTL
        last = box.items[-1].position if box.items else 0
        if after is None:
            return Tail(last)
        new = [item for item in box.items if item.position > after]
        return Tail(max(last, after), tuple(new[-most:]), box.dropped > after or len(new) > most)

    def sweep(self, now: float) -> None:
        for hub in [hub for hub, box in self._boxes.items() if box.until <= now]:
            del self._boxes[hub]
