"""Handling: what is done around every event's handler, beside handing it over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from django_hub import spans
from django_hub.events import Event, Joined, Left, Lost, Message, Resumed, Updated
from django_hub.signals import announce
from django_hub.tallies import tallies

#: What events are called in metrics and spans.
KINDS: dict[type[Event], str] = {
    Joined: "joined",
    Message: "message",
    Left: "left",
    Lost: "lost",
    Resumed: "resumed",
    Updated: "updated",
}


class Handling:
    """Calls ``handle`` with each event: counted, measured and traced where somebody does that, and
    announced to receivers of ``sender``'s signals. Raises what ``handle`` raises, once ``failed`` has been
    called with the event, too."""

    def __init__(
        self,
        handle: Callable[[Event], Awaitable[None]],
        failed: Callable[[Event], Awaitable[None]],
        channel: str,
        sender: type,
    ) -> None:
        self._handle = handle
        self._failed = failed
        self._channel = channel
        self._sender = sender

    async def __call__(self, event: Event) -> None:
        kind = KINDS[type(event)]
        tallies.events[self._channel, kind] += 1
        if isinstance(event, Left) and event.reason == "lost":
            # The server that would have counted it is no more.
            tallies.leaves["lost"] += 1
        told = tallies.handled
        began, at = (0.0, 0.0) if told is None else (time.perf_counter(), time.time())

        def over() -> None:
            if told is not None:
                told(self._channel, kind, max(0.0, at - event.at), time.perf_counter() - began)

        try:
            with spans.handling(self._channel, kind, event):
                await self._handle(event)
        except BaseException as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The worker ends: another one handles it.
                raise
            tallies.failures[self._channel, kind] += 1
            over()
            await self._failed(event)
            await announce(self._sender, event, error)
            raise
        else:
            over()
            await announce(self._sender, event)
