"""The websocket of the admin's live page, for the project's `URLRouter`::

from django_hub.routing import websocket_urlpatterns as hubs_admin

"websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter([*hubs_admin, ...])))
"""

from __future__ import annotations

from typing import Any

from django.urls import path

from django_hub.panel import HubsPanel

PATH = "ws/django_hub/admin/"

# Untyped: for Django's types only a view can have a route.
_consumer: Any = HubsPanel.as_asgi()
websocket_urlpatterns = [path(PATH, _consumer)]


def panel_path(application: Any, prefix: str = "") -> str | None:
    """Where the application routes the page's socket, behind any middleware; None: nowhere that can
    be seen. What an application of the project's own does by itself can't."""
    if isinstance(mapping := getattr(application, "application_mapping", None), dict):
        return panel_path(mapping.get("websocket"), prefix)
    if isinstance(routes := getattr(application, "routes", None), list):
        for route in routes:
            callback = getattr(route, "callback", None)
            here = prefix + str(route.pattern)
            if getattr(callback, "consumer_class", None) is HubsPanel:
                return here
            if callback is not None and (found := panel_path(callback, here)) is not None:
                return found
        return None
    for name in ("inner", "application", "app"):
        if (wrapped := getattr(application, name, None)) is not None:
            return panel_path(wrapped, prefix)
    return None
