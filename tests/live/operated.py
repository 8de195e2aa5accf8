"""A site for who operates it: hubs and clients of any name, a handler that fails, an admin of its own.

``SOCKET`` in the environment: the path below which the page's socket is routed; ``-`` is nowhere, and with
``()`` a function of the project's own chooses by the path.
"""

from __future__ import annotations

import json
import os
from typing import Any, ClassVar
from urllib.parse import parse_qs

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.live.operated_settings")
pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter  # noqa: E402
from django.contrib import admin  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402
from django.urls import path, re_path  # noqa: E402

from django_hub import HubConsumer, HubEvents, Joined, Message, hub_broadcast, hub_send  # noqa: E402
from django_hub.admin import HubsAdmin  # noqa: E402
from django_hub.models import Hubs  # noqa: E402
from django_hub.routing import websocket_urlpatterns as hubs_admin  # noqa: E402


class Hall(HubConsumer):
    events = "hall-events"

    async def authorize(self) -> bool:
        return True

    async def get_client_id(self) -> str | None:
        return parse_qs(self.scope["query_string"].decode())["name"][0]

    async def get_meta(self) -> dict[str, Any]:
        query = parse_qs(self.scope["query_string"].decode())
        return json.loads(query.get("meta", ["{}"])[0])


class Talk(HubEvents):
    """All that is said is said to all. What begins with "bad" fails, until "mend" was said in that hub."""

    mended: ClassVar[set[str]] = set()

    async def hub_joined(self, event: Joined) -> None:
        await hub_send(event.client_id, "welcome", event.hub)

    async def hub_message(self, event: Message) -> None:
        if event.data == "mend":
            self.mended.add(event.hub)
        elif str(event.data).startswith("bad") and event.hub not in self.mended:
            raise ValueError(f"it is {event.data}")
        await hub_broadcast(event.hub, event)


ops = admin.AdminSite(name="ops")
ops.register(Hubs, HubsAdmin)

urlpatterns = [path("admin/", admin.site.urls), path("ops/", ops.urls)]

_below = os.environ.get("SOCKET", "")
_hall: Any = Hall.as_asgi()
_panel: Any = URLRouter(hubs_admin)
_routes = [re_path(r"^ws/hall/(?P<hub>(?s:.*))/$", _hall)]
if _below not in ("-", "()"):
    _routes += [path(_below, _panel)] if _below else hubs_admin


async def _by_path(scope: Any, receive: Any, send: Any) -> None:
    is_ours = scope["path"].startswith("/ws/django_hub/")
    await (_panel if is_ours else URLRouter(_routes))(scope, receive, send)


application = ProtocolTypeRouter(
    {
        "http": ASGIStaticFilesHandler(pages),
        "websocket": AuthMiddlewareStack(_by_path if _below == "()" else URLRouter(_routes)),
        "channel": ChannelNameRouter({"hall-events": Talk.as_asgi()}),
    }
)
