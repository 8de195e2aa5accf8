"""A site whose clients speak ``hub.v1``: each message says what its worker is to do with it."""

from __future__ import annotations

import logging
import os
from typing import Any
from urllib.parse import parse_qs

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.live.settings")
pages = get_asgi_application()

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from django_hub import HubConsumer, HubEvents, Message, Where, hub_broadcast, hub_send, hub_update  # noqa: E402
from django_hub.events import Event  # noqa: E402
from tests.live.site import UNIT  # noqa: E402

logger = logging.getLogger("django_hub.tests")


class TalkConsumer(HubConsumer):
    events = "chat-events"
    grace = 5 * UNIT
    heartbeat = 2 * UNIT
    presence = True

    async def authorize(self) -> bool:
        return "stranger" not in self.query

    async def get_client_id(self) -> str | None:
        return self.query.get("name", [None])[0]

    @property
    def query(self) -> dict[str, list[Any]]:
        return parse_qs(self.scope["query_string"].decode())


class TalkEvents(HubEvents):
    async def handle(self, event: Event) -> None:
        what = event.data if isinstance(event, Message) else getattr(event, "reason", "")
        logger.info("%s handled %s %s %s", event.hub, type(event).__name__, event.client_id, what)
        await super().handle(event)

    async def hub_message(self, event: Message) -> None:
        if isinstance(event.data, bytes):
            await hub_broadcast(event.hub, event.data)
            return
        asked = event.json()
        if "be" in asked:
            await hub_update(event.client_id, {"mood": asked["be"]}, event.hub)
        if "to" in asked:
            await hub_broadcast(event.hub, {"said": asked["said"]}, Where(mood=asked["to"]))
        if event.request is not None:
            await event.reply({"heard": asked})
        for number in range(asked.get("times", 1)):
            if "say" in asked:
                text = f"{asked['say']} {number}"
                await hub_broadcast(event.hub, {"said": text}, droppable=asked.get("droppable", False))
            if "tell" in asked:
                await hub_send(asked["tell"], f"{asked['text']} {number}", hub=event.hub)


application = ProtocolTypeRouter(
    {
        "http": pages,
        "websocket": URLRouter([path("ws/<hub>/", TalkConsumer.as_asgi())]),
        "channel": ChannelNameRouter({"chat-events": TalkEvents.as_asgi()}),
    }
)
