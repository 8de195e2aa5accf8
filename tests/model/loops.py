"""A loop whose time jumps to what is due next."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from collections.abc import Iterator
from typing import Any

# Seconds of a real wait at a time.
_LOOK = 0.02


class _Jumps(selectors.DefaultSelector):
    """Waits by going on in time; while something real is under way, by waiting."""

    now = 0.0
    real = 0
    #: Threads or servers take part: who waits for nothing may wait for them.
    has_others = False

    def select(self, timeout: float | None = None) -> Any:
        if self.real or (timeout is None and self.has_others):
            began = time.monotonic()
            ready = super().select(_LOOK if timeout is None else min(timeout, _LOOK))
            self.now += time.monotonic() - began
            return ready
        if timeout is None:
            raise AssertionError("Everybody waits for somebody else.")
        self.now += max(0.0, timeout)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumps = _Jumps()
        super().__init__(self._jumps)

    def time(self) -> float:
        return self._jumps.now

    @contextlib.contextmanager
    def real(self) -> Iterator[None]:
        """Meanwhile time goes on as it does."""
        self._jumps.has_others = True
        self._jumps.real += 1
        try:
            yield
        finally:
            self._jumps.real -= 1
