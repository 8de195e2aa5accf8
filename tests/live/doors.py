"""A site with users, sessions and permissions, whose hubs not everybody may join.

Each path of it changes one thing, as a site's own pages would.
"""

from __future__ import annotations

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.live.doors_settings")
pages = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator, OriginValidator  # noqa: E402
from django.contrib.auth import login, logout, update_session_auth_hash  # noqa: E402
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

from django_hub import HubConsumer, HubEvents, Message, hub_broadcast  # noqa: E402
from django_hub.sync import hub_ban, hub_kick, hub_ticket  # noqa: E402

ELSEWHERE = "https://elsewhere.example"


class Room(HubConsumer):
    """For who is logged in."""

    events = "chat-events"


class Readers(Room):
    permission_required = "auth.view_group"


class Visitors(Room):
    """For pages of another origin."""

    ticket_required = True


class Talk(HubEvents):
    async def hub_message(self, event: Message) -> None:
        await hub_broadcast(event.hub, event)


def enter(request: HttpRequest, name: str) -> HttpResponse:
    user, _ = User.objects.get_or_create(username=name)
    login(request, user, "django.contrib.auth.backends.ModelBackend")
    return HttpResponse()


def leave(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse()


def password(request: HttpRequest) -> HttpResponse:
    user = User.objects.get(pk=request.user.pk)
    user.set_password("another")
    user.save()
    update_session_auth_hash(request, user)
    return HttpResponse()


def allow(request: HttpRequest, name: str) -> HttpResponse:
    group, _ = Group.objects.get_or_create(name="readers")
    group.permissions.add(Permission.objects.get(codename="view_group"))
    group.user_set.add(User.objects.get(username=name))
    return HttpResponse()


def revoke(request: HttpRequest) -> HttpResponse:
    Group.objects.get(name="readers").permissions.clear()
    return HttpResponse()


def deactivate(request: HttpRequest, name: str) -> HttpResponse:
    user = User.objects.get(username=name)
    user.is_active = False
    user.save()
    return HttpResponse()


def kick(request: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(str(hub_kick("room", user=User.objects.get(username=name), reason="enough")))


def ban(request: HttpRequest, name: str) -> HttpResponse:
    user = User.objects.get(username=name)
    return HttpResponse(str(hub_ban("room", user=user, seconds=60, reason="spam")))


def ticket(request: HttpRequest, age: str) -> HttpResponse:
    return HttpResponse(hub_ticket(request.user, "room", float(age)))


urlpatterns = [
    path("enter/<name>/", enter),
    path("leave/", leave),
    path("password/", password),
    path("allow/<name>/", allow),
    path("revoke/", revoke),
    path("deactivate/<name>/", deactivate),
    path("kick/<name>/", kick),
    path("ban/<name>/", ban),
    path("ticket/<age>/", ticket),
]

_here = AllowedHostsOriginValidator(
    AuthMiddlewareStack(
        URLRouter([path("ws/<hub>/", Room.as_asgi()), path("readers/<hub>/", Readers.as_asgi())])
    )
)
_elsewhere = OriginValidator(
    AuthMiddlewareStack(URLRouter([path("visitors/<hub>/", Visitors.as_asgi())])), [ELSEWHERE]
)


async def sockets(scope: Any, receive: Any, send: Any) -> None:
    application = _elsewhere if scope["path"].startswith("/visitors/") else _here
    await application(scope, receive, send)


application = ProtocolTypeRouter(
    {
        "http": pages,
        "websocket": sockets,
        "channel": ChannelNameRouter({"chat-events": Talk.as_asgi()}),
    }
)
