"""What belongs to one event loop each, and goes with it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One for each event loop.

    Many loops come and go in a process where asynchronous code runs under WSGI, or in a queue's tasks:
    each `asyncio.run` has its own.
    """

    def __init__(self) -> None:
        self._kept: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, T] = weakref.WeakKeyDictionary()

    def get(self, make: Callable[[], T]) -> T:
        """That of the running loop; the first call makes it."""
        loop = asyncio.get_running_loop()
        found = self._kept.get(loop)
        if found is None:
            # The key alone is not enough: what is kept may lead back to its loop, as a connection does.
            for reference in self._kept.keyrefs():
                if (other := reference()) is not None and other.is_closed():
                    self._kept.pop(other, None)
            found = self._kept[loop] = make()
        return found

    def all(self) -> list[T]:
        """From any thread."""
        found = (self._kept.get(loop) for ref in self._kept.keyrefs() if (loop := ref()) is not None)
        return [each for each in found if each is not None]

    def clear(self) -> None:
        self._kept.clear()
