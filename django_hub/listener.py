"""The listener: runs the project's application for one channel, as a worker process does.

Channels' own (`channels.worker`, `asgiref.server`) ends for good with the first message it can't read and
with the first lost connection, and looks ten times a second for applications that died.
"""

from __future__ import annotations

import asyncio
from typing import Any

from channels.routing import get_default_application

from django_hub.backoff import waits
from django_hub.endings import end
from django_hub.exceptions import Unavailable
from django_hub.layers.base import Layer
from django_hub.logs import get_logger

logger = get_logger(__name__)

# Set in the scope of an application that shares its process with the sockets.
EMBEDDED = "django_hub.embedded"
# Seconds it may take to finish when it is cancelled.
GRACE = "django_hub.grace"

# Messages that are received and not read: far fewer than a channel takes, for they may go back into it.
_UNREAD = 20

# An application that ran so long, in seconds, has not failed at its start.
_LONG = 10.0

_Message = dict[str, Any]


async def listen(layer: Layer, channel: str, *, grace: float, embedded: bool = False) -> None:
    """Run until cancelled: hand the channel's messages to the application in settings.ASGI_APPLICATION.

    An application that ends is started again, with a pause that grows while it goes on ending; what it
    had not read is handed to the next one.
    """
    messages = _Messages()
    scope = {"type": "channel", "channel": channel, GRACE: grace, EMBEDDED: embedded}
    receiving = asyncio.create_task(_receive(layer, channel, messages))
    running = asyncio.create_task(_run_application(scope, messages))
    try:
        await asyncio.wait([receiving, running])
    finally:
        await end([receiving])
        await end([running], grace + 1)
        try:
            await layer.stop(channel, messages.unread())
        except Unavailable as error:
            logger.warning("Not all is left to the next worker: %s", error)


class _Messages:
    """What was received and is not read."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[_Message] = asyncio.Queue()
        self._room = asyncio.Semaphore(_UNREAD)

    async def room(self) -> None:
        """Return when one more may be `put`: no cancellation comes between its receipt and that."""
        await self._room.acquire()

    def put(self, message: _Message) -> None:
        self._queue.put_nowait(message)

    async def get(self) -> _Message:
        message = await self._queue.get()
        self._room.release()
        return message

    def unread(self) -> list[_Message]:
        return [self._queue.get_nowait() for _ in range(self._queue.qsize())]


async def _receive(layer: Layer, channel: str, messages: _Messages) -> None:
    pauses = waits()
    await messages.room()
    while True:
        try:
            message = await layer.receive(channel)
        except Unavailable as error:
            logger.warning("Nothing comes on %s, for now: %s", channel, error)
            await asyncio.sleep(next(pauses))
        except Exception:
            logger.exception("The channel layer gave nothing on %s; trying again", channel)
            await asyncio.sleep(next(pauses))
        else:
            pauses = waits()
            messages.put(message)
            await messages.room()


async def _run_application(scope: dict[str, Any], messages: _Messages) -> None:
    clock = asyncio.get_running_loop().time
    pauses = waits(first=0.2, most=10.0)
    while True:
        began = clock()
        try:
            application: Any = get_default_application()
            await application(dict(scope), messages.get, _refuse)
        except Exception:
            logger.exception(
                "The application for channel %s failed; it is started again. Does the one that "
                "ASGI_APPLICATION names route it? In asgi.py: "
                'ProtocolTypeRouter({..., "channel": ChannelNameRouter({"%s": YourEvents.as_asgi()})})',
                scope["channel"],
                scope["channel"],
            )
        if clock() - began > _LONG:
            pauses = waits(first=0.2, most=10.0)
        await asyncio.sleep(next(pauses))


async def _refuse(message: _Message) -> None:
    raise RuntimeError(
        f"An application for a channel has nobody to send {message.get('type')!r} to; "
        "answer clients with hub_send and hub_broadcast."
    )
