"""An echo twice: that of a hub at ``/hub/``, and the server's own, without us, at ``/bare/``."""

import os
from typing import Any

import django
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from django_hub import HubConsumer, HubEvents

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()
settings.ASGI_APPLICATION = f"{__name__}.application"

_MUCH = 64 * 1024 * 1024


class Echo(HubConsumer):
    max_message_bytes = _MUCH
    max_queue_bytes = _MUCH

    async def get_hub(self) -> str:
        return "echo"

    async def authorize(self) -> bool:
        return True

    async def on_message(self, data: str | bytes) -> None:
        await self.send(data)


async def bare(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        said = {"text": text} if text is not None else {"bytes": message["bytes"]}
        await send({"type": "websocket.send", **said})


application = ProtocolTypeRouter(
    {
        "websocket": URLRouter([path("hub/", Echo.as_asgi()), path("bare/", bare)]),
        "channel": ChannelNameRouter({"hub-events": HubEvents.as_asgi()}),
    }
)
