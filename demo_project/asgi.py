"""Where everything that reaches the server goes: pages, sockets, events."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
# Sets Django up; the imports below need the apps to be ready.
pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler  # noqa: E402

from demo_project.board import routing as board  # noqa: E402
from demo_project.board.consumers import EVENTS  # noqa: E402
from demo_project.chat import routing as chat  # noqa: E402
from demo_project.chat.workers import ChatEvents  # noqa: E402
from demo_project.origin import AllowedHostsOrigin  # noqa: E402
from django_hub import HubEvents  # noqa: E402
from django_hub.routing import websocket_urlpatterns as hubs_admin  # noqa: E402

application = ProtocolTypeRouter(
    {
        # While DEBUG every server serves the static files too, not only runserver.
        "http": ASGIStaticFilesHandler(pages) if settings.DEBUG else pages,
        "websocket": AllowedHostsOrigin(
            # The chat's last: they end with one that refuses whatever is left.
            AuthMiddlewareStack(
                URLRouter([*hubs_admin, *board.websocket_urlpatterns, *chat.websocket_urlpatterns])
            )
        ),
        "channel": ChannelNameRouter(
            {
                "chat-events": ChatEvents.as_asgi(),
                # Nothing is left to do for boards: `HubEvents` by itself tells pages who is there.
                EVENTS: HubEvents.as_asgi(),
            }
        ),
    }
)
