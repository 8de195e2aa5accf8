"""The event loop of code that has none: one a process, in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

# What was only begun may take so long, in seconds, when the process ends.
_LAST = 3.0


class Background:
    """An event loop in a daemon thread, started with the first call; a forked process gets its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self._begun: set[concurrent.futures.Future[Any]] = set()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Wait for it."""
        return asyncio.run_coroutine_threadsafe(call, self._running()).result()

    def begin(self, call: Coroutine[Any, Any, None]) -> None:
        """Do it, and don't wait: for what must not hold up a request. A process that ends waits a bit."""
        begun = asyncio.run_coroutine_threadsafe(call, self._running())
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)

    def finish(self, within: float = _LAST) -> None:
        """Wait for what was begun."""
        if self._process == os.getpid():
            concurrent.futures.wait(tuple(self._begun), within)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._process = os.getpid()
                self._begun = set()
                name = "django_hub.sync"
                threading.Thread(target=self._loop.run_forever, name=name, daemon=True).start()
            return self._loop


background = Background()
atexit.register(background.finish)
