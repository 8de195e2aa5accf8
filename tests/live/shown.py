"""The hub that a page of the docs talks of, for its JavaScript: with the consumers that the page shows.

The page is named by the environment, ``PAGE``.
"""

import os

from tests.pages import blocks

os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"

from channels.auth import AuthMiddlewareStack
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from demo_project.asgi import application as demo
from django_hub import HubConsumer, HubEvents

# With the in-memory layer the server runs the worker, of this application.
settings.ASGI_APPLICATION = "tests.live.shown.application"


class OpenConsumer(HubConsumer):
    async def authorize(self) -> bool:
        return True


def shown(base: type, otherwise: type) -> type:
    """The class of that kind that the page has."""
    for block in blocks(os.environ["PAGE"], "python"):
        if f"({base.__name__}):" in block:
            names: dict[str, object] = {}
            exec(block, names)
            found = [each for each in names.values() if isinstance(each, type) and base in each.__bases__]
            return found[0]
    return otherwise


consumer = shown(HubConsumer, OpenConsumer)

application = ProtocolTypeRouter(
    {
        "http": demo.application_mapping["http"],
        "websocket": AuthMiddlewareStack(URLRouter([path("ws/<hub>/", consumer.as_asgi())])),
        "channel": ChannelNameRouter({consumer.events: shown(HubEvents, HubEvents).as_asgi()}),
    }
)
