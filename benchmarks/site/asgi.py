"""A path for each of the consumers; the workers beside them."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.site.settings")
django.setup()

from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402

from benchmarks.site import consumers  # noqa: E402

if "TURNS" in os.environ:  # it needs the extra `metrics`
    from benchmarks.site.turns import HubTurns

    turns = [path("turns/fan/<hub>/", HubTurns.as_asgi())]
else:
    turns = []

application = ProtocolTypeRouter(
    {
        "websocket": URLRouter(
            [
                path("hub/echo/<hub>/", consumers.HubEcho.as_asgi()),
                path("hub/fan/<hub>/", consumers.HubFan.as_asgi()),
                path("returning/fan/<hub>/", consumers.HubReturning.as_asgi()),
                path("spoken/fan/<hub>/", consumers.HubSpoken.as_asgi()),
                path("hub/droppable/<hub>/", consumers.HubDroppable.as_asgi()),
                path("hub/voice/<hub>/", consumers.HubVoice.as_asgi()),
                path("stock/echo/<hub>/", consumers.StockEcho.as_asgi()),
                path("stock/fan/<hub>/", consumers.StockFan.as_asgi()),
                path("bare/fan/<hub>/", consumers.bare_fan),
                *turns,
            ]
        ),
        "channel": ChannelNameRouter(
            {
                "hub-echo": consumers.HubEchoEvents.as_asgi(),
                "hub-fan": consumers.HubFanEvents.as_asgi(),
                "stock-echo": consumers.StockEchoWorker.as_asgi(),
            }
        ),
    }
)
