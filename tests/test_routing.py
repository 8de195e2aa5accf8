"""Where the application routes the admin page's socket."""

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path

from django_hub.routing import PATH, panel_path, websocket_urlpatterns


def routed(*routes):
    inner = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(list(routes))))
    return ProtocolTypeRouter({"websocket": inner})


async def other(scope, receive, send):
    raise AssertionError("nobody comes here")


def test_it_is_found_behind_middleware():
    assert panel_path(routed(path("x/", other), *websocket_urlpatterns)) == PATH


def test_it_is_found_behind_a_prefix():
    assert panel_path(routed(path("deep/", URLRouter(websocket_urlpatterns)))) == "deep/" + PATH


def test_it_is_said_where_there_is_none():
    assert panel_path(routed(path("x/", other))) is None
    assert panel_path(ProtocolTypeRouter({})) is None
