"""Hubs with small mailboxes, whose handler waits for a test: as `tests.live.wired`, with clients that post.

``WIRES`` are the servers whose `send` is gone past. ``WITHOUT`` is what the transports of this Twisted
do not have.
"""

import asyncio
import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from django_hub import HubConsumer, HubEvents
from django_hub.events import Event, Left, Message
from tests.live import desk, wired

settings.ASGI_APPLICATION = f"{__name__}.application"
settings.DJANGO_HUB = {"MAILBOX_LIMIT": 10, "WIRES": desk.allowed}

if name := os.environ.get("WITHOUT"):
    from twisted.internet.abstract import FileDescriptor

    delattr(FileDescriptor, name)

gate = asyncio.Event()
# The numbers of the messages that were handled, by client, and how many were looked into.
handled: dict[str, list[int]] = {}
sockets: dict[str, HubConsumer] = {}


class Poster(HubConsumer):
    events = "posters"
    rate = None

    async def authorize(self) -> bool:
        return True

    async def get_client_id(self) -> str:
        client_id: str = self.scope["url_route"]["kwargs"]["client_id"]
        sockets[client_id] = self
        return client_id


class Rated(Poster):
    """Two hundred messages at once, and as many a second."""

    rate = 200
    burst = 200

    async def on_message(self, data: str | bytes) -> None:
        handled.setdefault(self.client_id, []).append(int(data.split()[0]))
        await self.send(data)


class Asker(Poster):
    events = "askers"
    grace = 0


class AskerEvents(HubEvents):
    """Answers at length."""

    async def hub_message(self, event: Message) -> None:
        await event.reply("0 ".ljust(20_000, "x"))

    async def hub_left(self, event: Left) -> None:
        wired.left[event.client_id] = event


class PosterEvents(HubEvents):
    async def handle(self, event: Event) -> None:
        await wired.RoomEvents.handle(self, event)  # type: ignore[arg-type]
        if isinstance(event, Message):
            await gate.wait()
            handled.setdefault(event.client_id, []).append(int(event.data.split()[0]))


def in_order(client_id: str, count: int) -> bool:
    return handled.get(client_id, []) == list(range(count))


desk.names.update(globals())

application = ProtocolTypeRouter(
    {
        "websocket": URLRouter(
            [
                path("post/<hub>/<client_id>/", Poster.as_asgi()),
                path("ask/<hub>/<client_id>/", Asker.as_asgi()),
                path("rated/<hub>/<client_id>/", Rated.as_asgi()),
                path("desk", desk.application),
            ]
        ),
        "channel": ChannelNameRouter({"posters": PosterEvents.as_asgi(), "askers": AskerEvents.as_asgi()}),
    }
)
