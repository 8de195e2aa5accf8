"""Tasks that nobody awaits, or that several do."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Those that are under way. A loop keeps no hold of its tasks: this does, until each is done."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """In a context of its own: not in that of whoever happens to come first."""
        task = asyncio.create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def idle(self) -> None:
        """Return when none is under way."""
        while self._tasks:
            await asyncio.wait(self._tasks)


async def outcome(task: asyncio.Task[None]) -> None:
    """Wait for a task that several wait for; raises what it raised, and nothing where it was cancelled."""
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
