"""The board's websocket addresses."""

from typing import Any

from django.urls import path

from .consumers import BoardConsumer, NoticeConsumer


def route(address: str, consumer: Any) -> Any:
    """A consumer's address. Untyped: for Django's types only a view can have one."""
    return path(address, consumer.as_asgi())


websocket_urlpatterns = [
    route("ws/board/<int:board>/", BoardConsumer),
    route("ws/notices/", NoticeConsumer),
]
