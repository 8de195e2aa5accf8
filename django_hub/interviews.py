"""Interviews: consumers of members whose hooks are asked again."""

from __future__ import annotations

import asyncio
import contextvars
from collections import OrderedDict

from channels.exceptions import DenyConnection

from django_hub import closes
from django_hub.exceptions import Refused
from django_hub.hooks import DECIDED_WITHIN, is_our_end
from django_hub.logins import Fresh
from django_hub.logs import get_logger
from django_hub.turns import Turn
from django_hub.watched import Checkable, Watch, Watched

logger = get_logger(__name__)

# Hooks asked side by side: one that hangs holds up no other.
_AT_ONCE = 32


class Interviews:
    """Asks many consumers, each one at a time, and closes the sockets of whom they refuse.

    Nobody waits for it: what is known without hooks is not held up by hooks that hang.
    """

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        # With the newest of what is known of the user.
        self._waiting: OrderedDict[Watched, Fresh] = OrderedDict()
        self._under_way: set[Watched] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_idle(self) -> bool:
        return not self._tasks

    def of(self, watched: Watched, fresh: Fresh) -> None:
        """Ask its consumer, of its user as it is now; once more, where it is just asked of an older one."""
        self._waiting[watched] = fresh
        if len(self._tasks) < _AT_ONCE:
            self._tasks.add(asyncio.create_task(self._run(), context=contextvars.Context()))

    def end(self) -> None:
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        # Now: one that had not begun ends without a word.
        self._tasks.clear()

    async def _run(self) -> None:
        turn = Turn()
        try:
            while (watched := self._next()) is not None:
                fresh = self._waiting.pop(watched)
                if watched.consumer is None or watched not in self._watch:
                    continue
                self._under_way.add(watched)
                try:
                    await self._ask(watched, watched.consumer, fresh)
                finally:
                    self._under_way.discard(watched)
                if turn.is_over:
                    await turn.next()
        finally:
            # In one step with the look at who waits.
            if (task := asyncio.current_task()) is not None:
                self._tasks.discard(task)

    def _next(self) -> Watched | None:
        return next((each for each in self._waiting if each not in self._under_way), None)

    async def _ask(self, watched: Watched, consumer: Checkable, fresh: Fresh) -> None:
        try:
            async with asyncio.timeout(DECIDED_WITHIN):
                refusal = await consumer.check_again(fresh.user, fresh.granted)
        except Refused as refused:
            refusal = refused
        except DenyConnection:
            refusal = Refused(closes.FORBIDDEN, "not allowed")
        except (Exception, asyncio.CancelledError) as error:
            if is_our_end(error):
                raise
            logger.exception("%s failed when it was asked again", type(consumer).__name__)
            refusal = Refused(closes.FAILED, "the server failed")
        if refusal is not None:
            self._watch.close(watched, refusal)
