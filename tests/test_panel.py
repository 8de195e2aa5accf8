"""The admin's live page behind its websocket: who may look, and what is shown."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections import Counter
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.db import Error, InterfaceError, OperationalError
from django.db.models import QuerySet

from django_hub import answers, closes, hub_add, hub_broadcast, hub_create, panel
from django_hub.exceptions import Damaged, InvalidName, Unavailable
from django_hub.layers.choice import get_layer
from django_hub.panel import HubsPanel
from django_hub.sights import Viewer
from tests.apps import OpenConsumer, World
from tests.apps import world as world
from tests.sockets import Socket, until, websocket_scope

pytestmark = pytest.mark.django_db(transaction=True)

HOME = {"hub": "", "search": "", "after": "", "by_name": False}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel, "_EVERY", 0.01)


@pytest.fixture
def clerk() -> User:
    return User.objects.create_user("clerk", is_staff=True)


@pytest.fixture
def operator(clerk: User) -> User:
    clerk.user_permissions.add(Permission.objects.get(codename="view_hubs"))
    return User.objects.get(pk=clerk.pk)


async def looking(world: World, user: User, **sight: Any) -> Socket:
    socket = await world.open(HubsPanel.as_asgi(), websocket_scope("x", user=user))
    socket.send_nowait(json.dumps(HOME | sight))
    return socket


async def shown(socket: Socket, view: str, **wanted: Any) -> dict[str, Any]:
    """The next of that view that has this."""
    while True:
        picture = json.loads(await socket.receive())
        if picture["view"] == view and all(picture[name] == value for name, value in wanted.items()):
            return picture


async def test_hubs_and_one_of_them(world: World, operator: User) -> None:
    await world.open(OpenConsumer.as_asgi(), websocket_scope("lobby", client_id="ann", user=operator))
    await until(lambda: world.has_joined("lobby", "ann"))
    socket = await looking(world, operator)
    picture = await shown(socket, "hubs")
    assert "lobby" in {hub["name"] for hub in picture["hubs"]}
    assert picture["sight"] == HOME
    socket.send_nowait(json.dumps(HOME | {"hub": "lobby"}))
    (member,) = (await shown(socket, "hub"))["members"]
    assert (member["client"], member["username"]) == ("ann", "clerk")


async def test_events_as_they_are_handled(world: World, operator: User) -> None:
    socket = await looking(world, operator, hub="lobby")
    await shown(socket, "hub")
    ann = await world.open_member("ann")
    ann.send_nowait("<b>hi\x1b")
    events: list[Any] = []
    while len(events) < 2:
        events += (await shown(socket, "events"))["events"]
    told = [(event["kind"], event["text"]) for event in events]
    assert told == [
        ("joined", ""),
        ("message", "<b>hi\x1b"),
    ]


async def test_nobody_else_gets_into_the_panels_hub_or_onto_the_page(world: World, operator: User) -> None:
    eve = await world.open(OpenConsumer.as_asgi(), websocket_scope(panel.PANEL, client_id="eve"))
    assert await eve.close_code() == closes.BAD_REQUEST
    with pytest.raises(InvalidName, match="django_hub's own"):
        await hub_create(panel.PANEL, events="room-events")
    with pytest.raises(InvalidName, match="django_hub's own"):
        await hub_add(panel.PANEL, HubsPanel())
    socket = await looking(world, operator)
    await shown(socket, "hubs")
    await hub_broadcast(panel.PANEL, {"view": "hubs", "forged": True})
    await world.relay.idle()
    pictures = [await shown(socket, "hubs") for _ in range(5)]
    assert not [picture for picture in pictures if "forged" in picture]
    assert {event.hub for event in world.events} == set()


async def test_who_may_not_look_is_refused(world: World, clerk: User) -> None:
    socket = await world.open(HubsPanel.as_asgi(), websocket_scope("x", user=clerk))
    assert await socket.close_code() == closes.FORBIDDEN


@pytest.mark.parametrize("lost", ["permission", "staff", "active", "user"])
async def test_who_may_look_no_more_is_closed_at_the_next_check(
    world: World, operator: User, lost: str
) -> None:
    socket = await looking(world, operator)
    await shown(socket, "hubs")
    # Behind Django's back, so that no signal closes the socket before.
    mine = User.objects.filter(pk=operator.pk)
    if lost == "permission":
        through = User.user_permissions.through.objects.all()
        await sync_to_async(lambda: through._raw_delete(through.db))()
    elif lost == "user":
        await sync_to_async(lambda: User.user_permissions.through.objects.all().delete())()
        await sync_to_async(lambda: mine._raw_delete(mine.db))()
    else:
        await mine.aupdate(**{f"is_{lost}": False})
    await shown(socket, "hubs")
    world.relay.rechecks.inquiries.of_everybody()
    wanted = {closes.FORBIDDEN} if lost in ("permission", "staff") else {closes.BAD_TOKEN}
    assert {await socket.close_code()} == wanted


@pytest.mark.parametrize("text", ["{", "[" * 4000, "{}", json.dumps(HOME | {"hub": "\0" * 300})])
async def test_what_is_no_sight_closes(world: World, operator: User, text: str) -> None:
    socket = await world.open(HubsPanel.as_asgi(), websocket_scope("x", user=operator))
    socket.send_nowait(text)
    assert await socket.close_code() == closes.BAD_REQUEST


async def test_a_store_that_is_gone_for_a_while(
    world: World, operator: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    see, failures = Viewer.see, [Unavailable("no broker")]

    async def failing(viewer: Viewer, sight: Any) -> Any:
        if failures:
            raise failures.pop()
        return await see(viewer, sight)

    monkeypatch.setattr(Viewer, "see", failing)
    socket = await looking(world, operator)
    await shown(socket, "hubs")
    assert "Nothing is to be seen, for now: no broker" in caplog.text


async def test_a_fault_of_ours_closes_all_and_they_come_back(
    world: World, operator: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: Any) -> Any:
        raise RuntimeError("a fault")

    with monkeypatch.context() as patched:
        patched.setattr(Viewer, "see", broken)
        sockets = [await looking(world, operator) for _ in range(2)]
        for socket in sockets:
            assert await socket.close_code() == closes.FAILED
    assert "shows nothing any more" in caplog.text
    await shown(await looking(world, operator), "hubs")


async def test_all_who_look_at_the_same_are_shown_one_picture(
    world: World, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel, "_EVERY", 60.0)
    first = await looking(world, operator)
    picture = await shown(first, "hubs")
    second = await looking(world, operator)
    assert await shown(second, "hubs") == picture


async def test_an_id_that_is_no_users_key_has_no_name() -> None:
    assert await panel._names({"no number"}) == {}


# What a driver raises on a connection that was closed is the second, and no DatabaseError.
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
async def test_without_the_database_users_are_shown_by_their_keys(
    world: World,
    operator: User,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[Error],
) -> None:
    """Who looks because it is away sees the hubs."""
    await world.open(OpenConsumer.as_asgi(), websocket_scope("lobby", client_id="ann", user=operator))
    await until(lambda: world.has_joined("lobby", "ann"))
    socket = await looking(world, operator, hub="lobby")
    assert (await shown(socket, "hub"))["members"][0]["username"] == "clerk"

    def away(*_: Any) -> Any:
        raise error("no database")

    monkeypatch.setattr(QuerySet, "in_bulk", away)
    while (member := (await shown(socket, "hub"))["members"][0])["username"] is not None:
        pass
    assert member["user"] == str(operator.pk)
    assert "Users are shown by their keys, for now: no database" in caplog.text


async def test_a_stranger_is_refused(world: World) -> None:
    socket = await world.open(HubsPanel.as_asgi(), websocket_scope("x", user=AnonymousUser()))
    assert await socket.close_code() == closes.FORBIDDEN


class Counted:
    """How often the store and the layer are called."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: Counter[str] = Counter()
        for thing in (world.store, get_layer()):
            for name, _ in inspect.getmembers(type(thing), inspect.iscoroutinefunction):
                if not name.startswith("_"):
                    monkeypatch.setattr(thing, name, self._counting(name, getattr(thing, name)))

    def _counting(self, name: str, call: Any) -> Any:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            return await call(*args, **kwargs)

        return counted

    def taken(self) -> Counter[str]:
        calls, self.calls = self.calls, Counter()
        return calls


async def test_it_costs_nothing_while_nobody_looks(
    world: World, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same calls before somebody looked and after; and none at all where nothing happens."""
    monkeypatch.setattr(answers, "_COUNTED", 0.01)
    ann = await world.open_member("ann")
    counted = Counted(world, monkeypatch)

    async def cost() -> Counter[str]:
        await world.settled()
        counted.taken()
        ann.send_nowait("hi")
        handled = len(world.events) + 1
        await until(lambda: len(world.events) >= handled)
        await world.settled()
        await asyncio.sleep(0.3)  # thirty looks
        taken = counted.taken()
        del taken["waiting"]  # asked by `settled`, as often as it takes
        return taken

    await cost()
    before = await cost()
    assert before.total()
    socket = await looking(world, operator, hub="lobby")
    await shown(socket, "hub")
    assert (await cost()).keys() >= {"survey", "members", "tail", "processes"}
    socket.disconnect()
    await until(lambda: panel.panel_here()._task is None and world.relay.clients.counted is None)
    assert await cost() == before
    await asyncio.sleep(0.3)
    assert not counted.taken()


async def test_a_visitor_who_says_nothing_is_shown_nothing(
    world: World, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(world, monkeypatch)
    await world.open(HubsPanel.as_asgi(), websocket_scope("x", user=operator))
    await until(lambda: panel.PANEL in world.relay.fanout)
    await asyncio.sleep(0.1)
    assert not counted.taken().keys() & {"survey", "totals", "processes", "tail"}


async def test_who_goes_on_to_another_hub_is_shown_its_events_from_then_on(
    world: World, operator: User
) -> None:
    ann = await world.open_member("ann")
    bob = await world.open_member("bob", "kitchen")
    socket = await looking(world, operator, hub="lobby")
    await shown(socket, "hub")
    ann.send_nowait("one")
    assert (await shown(socket, "events"))["events"][-1]["text"] == "one"
    socket.send_nowait(json.dumps(HOME | {"hub": "kitchen"}))
    await until(lambda: list(panel.panel_here()._tails) == ["kitchen"])
    ann.send_nowait("not shown")
    await until(lambda: len(world.told()) == 3)
    bob.send_nowait("two")
    assert [event["text"] for event in (await shown(socket, "events"))["events"]] == ["two"]


async def test_who_may_still_look_is_shown_more(world: World, operator: User) -> None:
    socket = await looking(world, operator)
    await shown(socket, "hubs")
    world.relay.rechecks.inquiries.of_everybody()
    await until(lambda: world.relay.rechecks.inquiries.is_idle)
    pictures = [await shown(socket, "hubs") for _ in range(3)]
    assert len({picture["at"] for picture in pictures}) == 3


async def test_a_damaged_hub_is_told_of_and_the_others_are_shown(
    world: World, operator: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    see, tail = Viewer.see, world.store.tail

    async def damaged(viewer: Viewer, sight: Any) -> Any:
        if "cellar" in (sight.hub, sight.search):
            raise Damaged("not ours")
        return await see(viewer, sight)

    async def no_tail(hub: str, *args: Any) -> Any:
        if hub == "attic":
            raise Damaged("not ours")
        return await tail(hub, *args)

    monkeypatch.setattr(Viewer, "see", damaged)
    monkeypatch.setattr(world.store, "tail", no_tail)
    bad = [await looking(world, operator, hub="cellar"), await looking(world, operator, search="cellar")]
    good = await looking(world, operator, hub="attic")
    for _ in range(2):
        for socket in bad:
            assert (await shown(socket, "error"))["error"] == "not ours"
        await shown(good, "hub")
    assert "The events of hub attic are not shown: not ours" in caplog.text


async def test_who_types_makes_nobody_look_again(
    world: World, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look at each thing looked at, in a time that is long here."""
    monkeypatch.setattr(panel, "_EVERY", 60.0)
    looks: Counter[str] = Counter()
    see = Viewer.see

    async def counted(viewer: Viewer, sight: Any) -> Any:
        looks[sight.search] += 1
        return await see(viewer, sight)

    monkeypatch.setattr(Viewer, "see", counted)
    first = await shown(await looking(world, operator), "hubs")
    second = await looking(world, operator)
    for search in ("", "l", "lo", "lob"):
        second.send_nowait(json.dumps(HOME | {"search": search}))
        await shown(second, "hubs", sight=HOME | {"search": search})
    assert looks == Counter(["", "l", "lo", "lob"])
    second.send_nowait(json.dumps(HOME))
    assert await shown(second, "hubs", sight=HOME) == first
    assert looks[""] == 1
