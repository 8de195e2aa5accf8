"""Signals: what happened to hubs' clients, for code that is no `HubEvents`.

    @receiver(client_left)
    async def tidy(sender, event, **kwargs): ...

**Where.** They are sent by the worker that handles the hub (the server itself, with the in-memory
layer), with the ``event`` its handler gets; ``sender`` is the `HubEvents` class.

**When.** Behind the handler, also where it failed, and before the hub's next event: one hub's come in
its order, and a slow receiver holds up that hub and no other. As often as the event is handled: once, and
again where a worker died in the middle of a batch (see `HubEvents`).

**Receivers** may be plain functions or ``async def`` (those of one signal run side by side). One that
raises is logged, and costs neither the event nor the other receivers. Where nobody is connected nothing
is sent.
"""

from __future__ import annotations

import asyncio
from typing import Any

from django.dispatch import Signal

from django_hub.events import Event, Joined, Left, Lost, Message, Resumed, Updated
from django_hub.logs import get_logger

logger = get_logger(__name__)

client_joined = Signal()
client_said = Signal()
client_left = Signal()
client_lost = Signal()
client_resumed = Signal()
client_updated = Signal()
#: With ``error`` besides: what the handler raised. The event is a dead letter.
handler_failed = Signal()

_BY_EVENT: dict[type[Event], Signal] = {
    Joined: client_joined,
    Message: client_said,
    Left: client_left,
    Lost: client_lost,
    Resumed: client_resumed,
    Updated: client_updated,
}


async def announce(sender: type, event: Event, error: BaseException | None = None) -> None:
    """An event was handled, or its handler failed. Raises nothing but our own cancellation."""
    await _send(_BY_EVENT[type(event)], sender, event=event)
    if error is not None:
        await _send(handler_failed, sender, event=event, error=error)


async def _send(signal: Signal, sender: type, **named: Any) -> None:
    if not signal.has_listeners(sender):
        return
    try:
        # What is an Exception it logs by itself.
        await signal.asend_robust(sender, **named)
    except (asyncio.CancelledError, SystemExit):
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        logger.exception("A receiver of what happened in hub %s wanted to end more", named["event"].hub)
