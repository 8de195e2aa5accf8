"""The wire for any ASGI server: the application's `send`.

A task a send would cost a third of the rate, and awaiting each client's `send` in turn would let one slow
client hold all others. So `write` takes one step of send's coroutine itself; most finish there. Only one
that has to wait is handed to a task, which goes on with what gathers meanwhile, and ends with that.

The first step runs in the task of whoever writes: a middleware around `send` must not use what belongs to
the current task there (`asyncio.timeout`); context variables are the connection's own.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import Any, Self

from django_hub.messages import Close
from django_hub.tallies import tallies
from django_hub.wires.base import Outgoing
from django_hub.wires.queue import Latest, Queue

_TAKEN = object()

# Bytes of messages that a broken wire keeps, to tell that they were not delivered.
_REMEMBERED = 256 * 1024


class AsgiWire:
    __slots__ = (
        "_broken",
        "_closed",
        "_context",
        "_in_hand",
        "_retired",
        "_send",
        "_task",
        "_waiting",
        "broken",
        "dropped",
        "latest",
        "waits",
    )

    def __init__(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        context: contextvars.Context | None = None,
    ) -> None:
        self._send = send
        # A middleware that sets a context variable around `send` must reset it in the same context.
        self._context = contextvars.copy_context() if context is None else context
        self._closed = False
        self._broken = False
        self._retired = False
        self._task: asyncio.Task[None] | None = None
        self._in_hand: Outgoing | None = None
        # Made when first needed: most clients never make us wait, and an empty deque is 600 bytes.
        self._waiting: Queue | Latest | None = None
        self.broken: Callable[[BaseException], None] = _nobody
        self.waits: Callable[[], None] = _nothing
        self.latest = False
        self.dropped = 0

    @property
    def waiting_bytes(self) -> int:
        hand, queue = self._in_hand, self._waiting
        return (0 if hand is None else hand.size) + (0 if queue is None else queue.size)

    @property
    def waiting_frames(self) -> int:
        hand, queue = self._in_hand, self._waiting
        return (0 if hand is None else len(hand.frames)) + (0 if queue is None else len(queue))

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def closed_by_us(self) -> bool:
        return self._closed and not self._broken

    @classmethod
    def write_to_all(cls, wires: Iterable[Self], outgoing: Outgoing) -> None:
        if outgoing.several or outgoing.close is not None:
            for wire in wires:
                wire.write(outgoing)
            return
        free = []
        for wire in wires:
            if wire._task or wire._closed or wire._retired:
                wire.write(outgoing)
            else:
                free.append(wire)
        cls._send_to_all(free, outgoing)

    def write(self, outgoing: Outgoing) -> bool:
        for single in outgoing.each:
            written = self._write(single)
        if self._task is not None:
            self.waits()
        return written

    def drop_oldest(self) -> bool:
        # Behind a Close nothing comes: what waits is no more than it was.
        if self._closed or self._waiting is None or len(self._waiting) < 2:
            return False
        self._waiting.pop()
        self.dropped += 1
        tallies.dropped += 1
        return True

    def abandon(self) -> list[str | bytes]:
        if self._in_hand is not None and self._in_hand.close is not None:
            return []  # all that came before it is written, and it may take its time
        self._retired = True
        given_up = [*self._not_taken(), *(self._waiting or ())]
        self._in_hand = None
        self._waiting = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        undelivered: list[str | bytes] = []
        for outgoing in given_up:
            for frame in outgoing.frames:
                if not isinstance(frame, Close):
                    undelivered.append(frame)
                elif not self._broken:
                    self._closed = False
                    self.write(outgoing)
        return undelivered

    async def drained(self) -> None:
        while self._task is not None:
            await asyncio.wait([self._task])

    def abort(self) -> bool:
        return False

    # What a wire that knows more of its server does in its own way

    def _call(self, outgoing: Outgoing) -> Awaitable[None]:
        """Done when the frames are taken."""
        return self._send(outgoing.asgi)

    def _next(self, waiting: Queue | Latest) -> Outgoing:
        """Take from what waits, which is one frame each."""
        return waiting.pop()

    def _not_taken(self) -> Sequence[Outgoing]:
        """What of that in hand the client can't have got."""
        return () if self._in_hand is None else self._in_hand.each

    # The rest

    def _write(self, single: Outgoing) -> bool:
        if self._closed or (self._retired and single.close is None):
            if self._in_hand is not None and self._task is None:
                self._remember(single)
            return False
        if self._task is not None:
            self._queue(single)
        else:
            self._send_to_all((self,), single)
        if single.close is not None:
            self._closed = True
        return not self._broken

    @classmethod
    def _send_to_all(cls, wires: Iterable[Self], single: Outgoing) -> None:
        """For whom nothing waits."""
        for wire in wires:
            try:
                steps = wire._call(single).__await__()
                # With a default, for a StopIteration costs more than all the rest.
                first = wire._context.run(next, steps, _TAKEN)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 (the socket is broken)
                wire._break(single, error)
            else:
                if first is not _TAKEN:
                    wire._wait(single, _Rest(steps, first).taken)
                    wire.waits()

    def _wait(self, outgoing: Outgoing, taken: Callable[[], Awaitable[None]]) -> None:
        # Called by the task: one that is given up before it begins leaves no coroutine behind.
        self._in_hand = outgoing
        self._task = asyncio.get_running_loop().create_task(self._go_on(taken), context=self._context)

    def _queue(self, single: Outgoing) -> None:
        if self._waiting is None:
            self._waiting = Latest() if self.latest else Queue()
        dropped = self._waiting.append(single)
        self.dropped += dropped
        tallies.dropped += dropped

    def _remember(self, single: Outgoing) -> None:
        """Broken: what comes until its owner knows belongs to what was not delivered, the newest of it."""
        self._queue(single)
        while self._waiting and self._waiting.size > _REMEMBERED:
            self._waiting.pop()

    async def _go_on(self, taken: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.current_task()
        try:
            await taken()
            # A `send` may swallow its cancellation: the wire is another task's then.
            while self._task is task:
                self._in_hand = None
                if not self._waiting:
                    self._task = self._waiting = None
                    return
                self._in_hand = self._next(self._waiting)
                await self._call(self._in_hand)
        except (Exception, asyncio.CancelledError) as error:
            if self._task is not task:
                raise
            self._task = None
            self._break(self._in_hand, error)

    def _break(self, outgoing: Outgoing | None, error: BaseException) -> None:
        """The socket is broken, with this in hand."""
        self._in_hand = outgoing
        self._closed = self._broken = True
        self.broken(error)


class _Rest:
    """The rest of a coroutine whose first step was taken by hand and waits for ``first``."""

    __slots__ = ("_first", "_steps")

    def __init__(self, steps: Generator[Any, Any, None], first: Any) -> None:
        self._steps = steps
        self._first = first

    async def taken(self) -> None:
        await self

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            yield self._first
        except BaseException as error:
            if not hasattr(self._steps, "throw"):
                raise  # not a coroutine: the `send` of a server that is not written in Python
            try:
                following = self._steps.throw(error)
            except StopIteration:
                return
            yield following
        yield from self._steps


def _nobody(error: BaseException) -> None:
    """A wire without an owner yet."""


def _nothing() -> None:
    """As above."""
