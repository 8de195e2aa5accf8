"""HubEvents: the consumer, in a worker, that handles the events of hubs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from channels.consumer import AsyncConsumer, get_handler_name
from channels.db import aclose_old_connections
from channels.exceptions import StopConsumer

from django_hub.batching import Batcher
from django_hub.bells import WAKE
from django_hub.conf import get_settings
from django_hub.delivery import send_failure, send_reply
from django_hub.endings import end
from django_hub.events import Event, Joined, Left, Lost, Message, Resumed, Updated
from django_hub.exceptions import HubError
from django_hub.handling import Handling
from django_hub.hooks import require_async
from django_hub.layers.choice import get_layer
from django_hub.listener import EMBEDDED, GRACE
from django_hub.logs import get_logger
from django_hub.presence import show_presence
from django_hub.relay import Relay, get_relay
from django_hub.service import HubService
from django_hub.stores.registry import get_store

logger = get_logger(__name__)

# Other messages to a worker's channel that may wait.
_OTHERS = 1000
_HANDLERS = {
    Joined: "hub_joined",
    Message: "hub_message",
    Left: "hub_left",
    Lost: "hub_lost",
    Resumed: "hub_resumed",
    Updated: "hub_updated",
}


class HubEvents(AsyncConsumer):
    """Handles what happens to the clients of hubs: override `hub_joined`, `hub_message`, `hub_left`;
    for clients that may come back also `hub_lost` and `hub_resumed`; `hub_updated`.

        class ChatEvents(HubEvents):
            async def hub_message(self, event):
                await hub_broadcast(event.hub, {"from": event.client_id, "said": event.data})

    Route it by its channel, ``ChannelNameRouter({"chat-events": ChatEvents.as_asgi()})``, and run it with
    ``manage.py runworker chat-events`` (with the in-memory layer it runs inside the server).

    **Order.** The events of one hub come one at a time, in the order in which they happened, whatever
    the number of workers; different hubs run side by side. So what belongs to one hub needs no locks.

    **Loss and repeats.** Each event is handed over at least once: a worker that dies in the middle of a
    batch has its events handled again by the next one, at most one batch of a hub. A handler that must
    not act twice remembers `event.id`. One that raises is logged, its event kept as a dead letter, and
    the next event follows; who waits for a reply to it is told so (``HubRefused``, with 1011).

    **State.** One object serves all hubs of the process, and the next event of a hub may be another
    process's: keep a hub's state in the database or cache, not on ``self``.

    **Time.** A slow handler delays its own hub and nobody else, as long as it awaits; use
    `channels.db.database_sync_to_async` (or Django's async ORM) for the database. One that blocks
    (``time.sleep``, ``requests``) holds up all hubs of its process, and its sockets where that is the
    server: run with ``PYTHONASYNCIODEBUG=1`` to have asyncio log for how long, and in which hub.

    Other messages to the channel (``channel_layer.send("chat-events", {"type": "tidy.up"})``) call the
    method of their type, as in any Channels consumer, in their own order. A worker that is stopped
    finishes those it has taken, as far as ``SHUTDOWN_GRACE`` goes.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        require_async(cls, [*_HANDLERS.values(), "handle"])

    async def hub_joined(self, event: Joined) -> None:
        """A client came into the hub."""

    async def hub_message(self, event: Message) -> None:
        """A client said something."""

    async def hub_left(self, event: Left) -> None:
        """A client is gone; ``event.reason`` says why."""

    async def hub_lost(self, event: Lost) -> None:
        """A client's connection broke; `hub_resumed` or `hub_left` follows."""

    async def hub_resumed(self, event: Resumed) -> None:
        """A client is back, the same member as before."""

    async def hub_updated(self, event: Updated) -> None:
        """A client's meta changed; ``event.meta`` is the new one."""

    async def handle(self, event: Event) -> None:
        """Hand an event to its method. Override it for what is to be done around every event."""
        await getattr(self, _HANDLERS[type(event)])(event)

    async def _hand_over(self, event: Event) -> None:
        if isinstance(event, Message):
            if event.request is not None:
                event = replace(event, replies=send_reply)
        elif event.presence:
            # Before the handler: what it says of the client comes after that it is there.
            await show_presence(event)
        await self.handle(event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG002
        self.scope = scope
        settings = get_settings()
        if get_layer().in_memory and not scope.get(EMBEDDED):
            logger.warning(
                "The in-memory channel layer reaches its own process only: a worker beside the server "
                "gets nothing from it. Set CHANNEL_LAYERS to channels_redis, or run no worker: the server "
                "runs the channel application by itself."
            )
        relay = get_relay()
        keeping = [] if scope.get(EMBEDDED) else [asyncio.create_task(_keep(relay, settings.BEAT))]
        handling = Handling(self._hand_over, _tell_who_asked, scope["channel"], type(self))
        service = HubService(handling, get_store(), relay.bells, settings.MAX_CONCURRENT_HUBS)
        others: Batcher[dict[str, Any], None] = Batcher(self._dispatch_others, most=1)
        try:
            while True:
                message = await receive()
                if message.get("type") == WAKE:
                    service.wake(_hubs_of(message))
                elif len(others) < _OTHERS:
                    others.put(message)
                else:
                    logger.error("Too many messages wait: one of type %r is dropped", message.get("type"))
        except StopConsumer:
            pass
        finally:
            await end(keeping)
            grace = scope.get(GRACE, settings.SHUTDOWN_GRACE)
            finishing = asyncio.create_task(_finish(others, grace))
            # At once: it is not to begin another event.
            await service.close(grace)
            await finishing

    async def _dispatch_others(self, messages: Sequence[dict[str, Any]]) -> Sequence[None]:
        for message in messages:
            try:
                handler = getattr(self, get_handler_name(message), None)
                if handler is None:
                    raise ValueError(f"{type(self).__name__} has no handler for it")
                await aclose_old_connections()
                await handler(message)
            except Exception:
                logger.exception("Message of type %r on its channel failed", message.get("type"))
        return [None] * len(messages)


async def _tell_who_asked(event: Event) -> None:
    if not isinstance(event, Message) or event.request is None:
        return
    try:
        await send_failure(event)
    except HubError as error:
        who, hub = event.client_id, event.hub
        logger.warning("%s in hub %s is not told that its request failed: %s", who, hub, error)


async def _finish(others: Batcher[dict[str, Any], None], grace: float) -> None:
    try:
        async with asyncio.timeout(grace):
            await others.idle()
    except TimeoutError:
        logger.warning("%d other messages on the channel were not begun in time", len(others))


async def _keep(relay: Relay, every: float) -> None:
    """What a worker process does beside its hubs."""
    for remark in await relay.store.remarks():
        logger.warning(remark)
    await relay.keeper.run(_no_beat, every)


async def _no_beat() -> None:
    """A worker has no members that would need a lease."""


def _hubs_of(wake: dict[str, Any]) -> list[str]:
    hubs = wake.get("hubs")
    if isinstance(hubs, list) and all(isinstance(hub, str) for hub in hubs):
        return hubs
    logger.warning("A wake that names no hubs was dropped: %.200r", wake)
    return []
