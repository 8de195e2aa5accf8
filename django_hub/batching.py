"""Batch by what waits: while one call is in flight, what comes next gathers and goes as one.

No timers, so nothing waits when idle; and under load the batches grow by themselves to what the other
side needs. The same idea is behind group commit in databases.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Failed:
    """In a result's place: the error of this one item, to be raised where its future is awaited."""

    error: Exception


class Batcher(Generic[Item, Result]):
    """Hands items to ``call`` in the order of `put`, many at a time, one call after another.

    ``call`` gets 1 to ``most`` items and returns a result for each, or `Failed`, in their order; an
    exception of it is given to all that put an item into that batch, and the next batch goes on. There is
    a task only while something waits.
    """

    __slots__ = ("_call", "_most", "_taken", "_task", "_waiting")

    def __init__(
        self, call: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Failed]]], most: int = 1000
    ) -> None:
        self._call = call
        self._most = most
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._taken: asyncio.Future[None] | None = None

    def put(self, item: Item) -> asyncio.Future[Result]:
        """Queue an item; the future brings its result. Giving up that future takes nothing back."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self.is_idle:
            # In a context of its own: not in that of whoever happens to come first.
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())
        return future

    @property
    def is_idle(self) -> bool:
        """Nothing waits, and no call is in flight."""
        return self._task is None or self._task.done()

    def __len__(self) -> int:
        """How many items wait, those of the call in flight not counted."""
        return len(self._waiting)

    async def taken(self) -> None:
        """Return when the next items are taken, or none waits."""
        if not self.is_idle:
            if self._taken is None:
                self._taken = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._taken)

    async def idle(self) -> None:
        """Return when nothing waits and no call is in flight."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), self._most)
                batch = [self._waiting.popleft() for _ in range(count)]
                self._tell_taken()
                try:
                    results = await self._call([item for item, _ in batch])
                except Exception as error:  # noqa: BLE001 (those who put the items in get it)
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(error)
                    continue
                except asyncio.CancelledError:
                    for _, future in batch:
                        future.cancel()
                    if (task := asyncio.current_task()) is not None and task.cancelling():
                        raise
                    continue
                for (_, future), result in zip(batch, results, strict=True):
                    if future.done():
                        continue
                    if isinstance(result, Failed):
                        future.set_exception(result.error)
                    else:
                        future.set_result(result)
        finally:
            self._task = None
            self._tell_taken()

    def _tell_taken(self) -> None:
        if self._taken is not None:
            self._taken.set_result(None)
            self._taken = None
