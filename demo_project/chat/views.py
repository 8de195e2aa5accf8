"""The two pages: the lobby and a room."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from django_hub import current_hubs

from .forms import JoinForm
from .names import RULE, is_name

SHOWN_ROOMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    name: str
    count: int


@require_safe
async def lobby(request: HttpRequest) -> HttpResponse:
    """Who is where, and the way in.

    ``?room=…`` alone fills in the form; with ``name``, also an empty one, the form was sent.
    """
    if "name" not in request.GET:
        return await lobby_page(request, JoinForm(initial={"room": request.GET.get("room", "")}))
    form = JoinForm(request.GET)
    if not form.is_valid():
        return await lobby_page(request, form, status=400)
    address = reverse("chat:chat", args=[form.cleaned_data["room"]])
    if name := form.cleaned_data["name"]:
        address += "?" + urlencode({"name": name})
    return HttpResponseRedirect(address)


@require_safe
async def rooms(request: HttpRequest) -> HttpResponse:
    """Only the lobby's list of rooms, which its page fetches again every few seconds."""
    response = render(request, "chat/rooms.html", {"rooms": await live_rooms()})
    response["Cache-Control"] = "no-store"
    return response


@require_safe
async def chat(request: HttpRequest, room: str) -> HttpResponse:
    """A room. Without a name in the query the page makes one up."""
    if not is_name(room):
        return render(request, "chat/no_room.html", {"room": room, "rule": RULE}, status=404)
    form = JoinForm({"room": room, "name": request.GET.get("name", "")})
    if not form.is_valid():
        return await lobby_page(request, form, status=400)
    context = {**form.cleaned_data, "socket": f"/ws/chat/{room}/"}
    return render(request, "chat/room.html", context)


async def lobby_page(request: HttpRequest, form: JoinForm, status: int = 200) -> HttpResponse:
    context = {"form": form, "rule": RULE, "rooms": await live_rooms()}
    return render(request, "chat/lobby.html", context, status=status)


async def live_rooms() -> list[Room]:
    """The busiest rooms first. A hub that just lost its last member is no place to send anyone."""
    found = [
        Room(name=hub.name, count=count)
        async for hub in current_hubs()
        if is_name(hub.name) and (count := await hub.count())
    ]
    return sorted(found, key=lambda room: (-room.count, room.name))[:SHOWN_ROOMS]
