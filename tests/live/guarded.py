"""Hubs with limits, whose server a test looks into, as `tests.live.wired`. ``HUB``: DJANGO_HUB, as JSON."""

import json
import logging
import os

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from django_hub.places import Places
from tests.live import desk, wired

settings.ASGI_APPLICATION = f"{__name__}.application"
settings.DJANGO_HUB = {"PROXIES": 1, **json.loads(os.environ.get("HUB", "{}"))}

if url := os.environ.get("REDIS_URL"):
    host = {"address": url, "socket_timeout": 15}
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}
    }

logger = logging.getLogger("django_hub.clients")
# The names that clients gave, of those who came last.
named: list[str] = []


def places() -> Places:
    return wired.get_relay().places


def warn() -> None:
    """As the package's modules do, with what clients are called."""
    for name in named:
        logger.warning("Client %s has no luck", name)


class Room(wired.Room):
    """Echoes to its client alone, so that each measures its own server and nobody else's."""

    async def get_client_id(self) -> str:
        named[:] = [self.hub, client_id := await super().get_client_id()]
        return client_id

    async def on_message(self, data: str | bytes) -> None:
        await self.send(data)


class Failing(wired.Room):
    async def authorize(self) -> bool:
        raise LookupError("asked to")


desk.names.update(globals())

application = ProtocolTypeRouter(
    {
        "websocket": URLRouter(
            [
                path("room/<hub>/<client_id>/", Room.as_asgi()),
                path("failing/<hub>/<client_id>/", Failing.as_asgi()),
                path("desk", desk.application),
            ]
        ),
        "channel": ChannelNameRouter({"rooms": wired.RoomEvents.as_asgi()}),
    }
)
