"""How tasks are ended."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any


async def end(tasks: Collection[asyncio.Task[Any]], patience: float = 0.5) -> None:
    """Cancel tasks and return when they have ended.

    One that still runs after ``patience`` seconds is cancelled again: a cancellation that arrives while
    redis-py connects can be swallowed there, and the task would go on for ever. So patience is to be
    longer than what tidying up may rightly take.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=patience)
