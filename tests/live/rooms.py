"""What a site of `tests.live.site` serves: the demo's chat, and plain rooms.

A room's client is welcomed once its `Joined` is handled, and nobody else is told: so a crowd costs what
the hub costs. It says what its worker is to do with each of its messages.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from typing import Any
from urllib.parse import parse_qs

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.live.settings")
pages = get_asgi_application()

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from demo_project.chat.consumers import ChatConsumer  # noqa: E402
from demo_project.chat.routing import websocket_urlpatterns  # noqa: E402
from demo_project.chat.workers import ChatEvents  # noqa: E402
from django_hub import (  # noqa: E402
    HubConsumer,
    HubEvents,
    Joined,
    Message,
    Where,
    current_hub,
    hub_broadcast,
    hub_send,
)
from django_hub.events import Event  # noqa: E402

logger = logging.getLogger("django_hub.tests")


class LoggedChatConsumer(ChatConsumer):
    """Writes down what was accepted: nobody else knows it of a message whose sender is cut off."""

    async def on_message(self, data: str | bytes) -> None:
        if await self.post(data):
            logger.info("accepted %s", data)


class LoggedChatEvents(ChatEvents):
    """As above, of what was handled."""

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Message):
            logger.info("handled %s", event.data)


class RoomConsumer(HubConsumer):
    events = "room-events"
    rate = None  # some tests send as fast as they can

    async def authorize(self) -> bool:
        return True

    async def get_client_id(self) -> str | None:
        return self.query()["name"][0]

    async def get_meta(self) -> dict[str, Any]:
        meta: dict[str, Any] = json.loads(self.query().get("meta", ["{}"])[0])
        return meta

    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.scope["query_string"].decode())


class RoomEvents(HubEvents):
    async def hub_joined(self, event: Joined) -> None:
        await hub_send(event.client_id, {"type": "joined", "client": event.client_id}, hub=event.hub)

    async def hub_message(self, event: Message) -> None:
        fields = event.json()
        match fields["type"]:
            case "count":
                hub = await current_hub(event.hub)
                answer = {"type": "count", "count": await hub.count() if hub else 0}
                await hub_send(event.client_id, answer, hub=event.hub)
                return
            case "tell":
                for each in fields["broadcasts"]:
                    await self.tell(event.hub, **each)
                return
            case "wait":
                await self.begun(event)
                await asyncio.sleep(fields["seconds"])
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "block":
                await self.begun(event)
                await asyncio.to_thread(time.sleep, fields["seconds"])
        said = {"type": "said", "client": event.client_id, "text": fields["text"], "worker": os.getpid()}
        await hub_broadcast(event.hub, said)

    async def tell(
        self,
        hub: str,
        text: str,
        where: dict[str, Any] | None = None,
        longer: int | None = None,
        **ids: Any,
    ) -> None:
        """``longer``: to those with such a name."""
        condition: Any = None if where is None else Where(**where)
        if longer is not None:
            condition = lambda member: len(member.client_id) > longer  # noqa: E731
        await hub_broadcast(hub, {"type": "said", "text": text}, condition, **ids)

    async def begun(self, event: Message) -> None:
        begun: dict[str, Any] = {"type": "begun", "worker": os.getpid()}
        await hub_send(event.client_id, begun, hub=event.hub)


application = ProtocolTypeRouter(
    {
        "http": pages,
        "websocket": URLRouter(
            [
                path("ws/room/<hub>/", RoomConsumer.as_asgi()),
                path("ws/logged/<hub>/", LoggedChatConsumer.as_asgi()),
                *websocket_urlpatterns,
            ]
        ),
        "channel": ChannelNameRouter(
            {"chat-events": LoggedChatEvents.as_asgi(), "room-events": RoomEvents.as_asgi()}
        ),
    }
)
