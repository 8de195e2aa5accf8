"""The chat's websocket addresses."""

from typing import Any

from channels.security.websocket import WebsocketDenier
from django.urls import re_path

from .consumers import ChatConsumer


def route(pattern: str, consumer: Any) -> Any:
    """A consumer's address. Untyped: for Django's types only a view can have one."""
    return re_path(pattern, consumer.as_asgi())


websocket_urlpatterns = [
    # Any text at all is a room here: the consumer then says what is wrong with it, by close code.
    route(r"^ws/chat/(?P<hub>(?s:.*))/$", ChatConsumer),
    # A wrong address is the client's mistake: refused, where the router alone would raise.
    route(r"", WebsocketDenier),
]
