"""The examples of docs/howto/authorize.md do what the page says of them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import RequestFactory

from django_hub.bans import hub_ban
from django_hub.stores.registry import get_store
from tests.apps import World
from tests.apps import world as world
from tests.pages import run
from tests.sockets import Closed, websocket_scope

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "docs/howto/authorize.md"
HERE = [(b"host", b"localhost"), (b"origin", b"http://localhost")]
THERE = [(b"host", b"localhost"), (b"origin", b"https://elsewhere.example")]


async def rooms_of(user: Any) -> list[str]:
    return ["garden"]


async def code_of(world: World, application: Any, hub: str, **scope: Any) -> int:
    """The code with which a socket is refused."""
    socket = await world.open(application, websocket_scope(hub, **scope))
    return await socket.close_code()


async def test_the_consumers_refuse_and_let_in_as_is_said(world: World) -> None:
    page = await run(PAGE, rooms_of=rooms_of)
    ann = await User.objects.acreate(username="ann")
    assert await code_of(world, page["StaffConsumer"].as_asgi(), "lobby", user=ann) == 4403
    assert await code_of(world, page["RoomConsumer"].as_asgi(), "lobby", user=ann) == 4403
    await world.open(page["LobbyConsumer"].as_asgi(), websocket_scope("lobby"))
    await world.open(page["NewsConsumer"].as_asgi(), websocket_scope("lobby", user=ann))


async def test_the_routes_refuse_other_origins(world: World, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["localhost"]
    page = await run(PAGE, rooms_of=rooms_of)
    for route, headers in ((page["websocket"], THERE), (page["websocket"], []), (page["visitors"], HERE)):
        with pytest.raises(Closed):
            await world.open(route, websocket_scope("lobby", headers=headers))


async def test_one_application_has_both_routes_each_with_its_own_origins(
    world: World, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["localhost"]
    page = await run(PAGE, rooms_of=rooms_of)

    def scope(path: str, headers: Any, **more: Any) -> dict[str, Any]:
        return websocket_scope("lobby", headers=headers) | {"path": f"/{path}/lobby/", **more}

    for path, headers in (("ws", THERE), ("visitors", HERE)):
        with pytest.raises(Closed):
            await world.open(page["application"], scope(path, headers))
    # The first has no cookie, the second a ticket.
    refused = await world.open(page["application"], scope("ws", HERE))
    assert await refused.close_code() == 4403
    request = RequestFactory().get("/")
    request.user = await User.objects.acreate(username="ann")
    offers = [f"hub.ticket.{page['ticket'](request).content.decode()}"]
    socket = await world.open(page["application"], scope("visitors", THERE, subprotocols=offers))
    assert socket.running


async def test_a_ticket_of_the_view_opens_the_visitors_door_once(world: World) -> None:
    page = await run(PAGE, rooms_of=rooms_of)
    request = RequestFactory().get("/")
    request.user = await User.objects.acreate(username="ann")
    offers = [f"hub.ticket.{page['ticket'](request).content.decode()}"]
    scope = websocket_scope("lobby", headers=THERE) | {"path": "/visitors/lobby/", "subprotocols": offers}
    socket = await world.open(page["visitors"], dict(scope))
    assert await (await world.open(page["visitors"], dict(scope))).close_code() == 4401
    assert socket.running


async def test_the_example_for_code_that_blocks_runs(world: World) -> None:
    page = await run(PAGE, rooms_of=rooms_of)
    await asyncio.to_thread(page["moderate"], await User.objects.acreate(username="ann"))


async def test_a_ban_is_where_the_page_says(world: World) -> None:
    await hub_ban("lobby", user=7, seconds=60, reason="spam")
    assert await get_store().bans([("lobby", "user:7")]) == ["spam"]
