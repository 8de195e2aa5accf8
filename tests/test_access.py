"""Who may join, send and hear, and what becomes of clients when that changes."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from asgiref.sync import sync_to_async
from channels.auth import UserLazyObject
from channels.exceptions import DenyConnection
from django.contrib.auth import BACKEND_SESSION_KEY, get_user_model, login, logout
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.contrib.sessions.backends.cache import SessionStore as CacheSession
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection, transaction
from django.http import HttpRequest
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject

from django_hub import HubConsumer, hub_ban, hub_broadcast, hub_kick, hub_send, hub_unban, inquiries
from django_hub.additions import hub_add
from django_hub.api import hub_member, hub_members
from django_hub.entries import Entry, Kind
from django_hub.events import Joined, Left
from django_hub.exceptions import InvalidBound, InvalidMessage, Refused, Unavailable
from django_hub.jsontext import JsonText
from django_hub.notices import NOTICES, Kicked, UsersChanged, write
from django_hub.ordering import Ordering
from django_hub.rechecks import _Newcomer
from django_hub.tickets import hub_ticket
from tests.apps import EVENTS, FaultyStore, OpenConsumer, StockConsumer, World
from tests.apps import world as world
from tests.sockets import Closed, Socket, turns, until, websocket_scope
from tests.test_visitors import NONE

pytestmark = pytest.mark.django_db(transaction=True)

READ = "auth.view_group"


class Members(HubConsumer):
    events = EVENTS
    grace = 0


class Readers(Members):
    permission_required = READ


class Both(Members):
    permission_required = (READ, "auth.add_group")


class Anybody(Members):
    login_required = False


class Quiet(OpenConsumer):
    """May send and hear what the test says."""

    sends = True
    hears = True
    presence = True
    made: ClassVar[list[Quiet]] = []

    def __init__(self) -> None:
        Quiet.made.append(self)

    async def may_send(self) -> bool:
        return "mute" not in self.scope["path"]

    async def may_receive(self) -> bool:
        return "deaf" not in self.scope["path"]


class Strangers(Members):
    ticket_required = True


@pytest.fixture
def anna() -> User:
    return User.objects.create_user("anna", password="secret")


@pytest.fixture
def readers() -> Group:
    group = Group.objects.create(name="readers")
    group.permissions.add(Permission.objects.get(codename="view_group"))
    return group


def logged_in(user: Any) -> SessionStore:
    """A session in the database, as Django's login leaves it."""
    request = HttpRequest()
    request.session = SessionStore()
    login(request, user, "django.contrib.auth.backends.ModelBackend")
    request.session.save()
    return read(request.session)


def read(session: SessionStore) -> SessionStore:
    """The same, as another request has it."""
    other = SessionStore(session.session_key)
    other.get("anything")
    return other


async def enter(
    world: World, user: Any, consumer: Any = Members, hub: str = "lobby", **scope: Any
) -> Socket:
    """A socket of a user with a session of its own."""
    session = scope.pop("session", None) or await sync_to_async(logged_in)(user)
    fresh = await User.objects.aget(pk=user.pk)
    path = scope.pop("path", "/")
    before = len(world.relay.clients)
    socket = await world.open(
        consumer.as_asgi(), websocket_scope(hub, user=fresh, session=session, **scope) | {"path": path}
    )
    await until(lambda: not socket.running or len(world.relay.clients) > before or socket.received)
    return socket


async def joined(world: World, count: int) -> None:
    await until(lambda: sum(isinstance(event, Joined) for event in world.events) >= count)


async def closed(socket: Socket) -> tuple[int, str]:
    try:
        while True:
            await socket.receive()
    except Closed as end:
        return end.code, end.reason


async def change(what: Callable[[], Any]) -> Any:
    return await sync_to_async(what)()


# The shortcuts


async def test_only_users_may_join_by_default_and_anybody_where_it_is_said(world: World) -> None:
    for nobody in ({"user": AnonymousUser()}, {"user": None}):
        socket = await world.open(Members.as_asgi(), websocket_scope("lobby", **nobody))
        assert await closed(socket) == (4403, "not allowed")
        await world.open(Anybody.as_asgi(), websocket_scope("lobby", **nobody))
    await world.open(Anybody.as_asgi(), websocket_scope("lobby"))
    await joined(world, 3)


async def test_a_permission_lets_in_by_user_and_by_group(world: World, anna: User, readers: Group) -> None:
    assert await closed(await enter(world, anna, Readers)) == (4403, "not allowed")
    assert not world.events
    await change(lambda: readers.user_set.add(anna))
    await enter(world, anna, Readers)
    await joined(world, 1)
    assert await closed(await enter(world, anna, Both)) == (4403, "not allowed")
    await change(lambda: anna.user_permissions.add(Permission.objects.get(codename="add_group")))
    await enter(world, anna, Both)
    await joined(world, 2)
    socket = await world.open(Readers.as_asgi(), websocket_scope("lobby", user=AnonymousUser()))
    assert await closed(socket) == (4403, "not allowed")


@pytest.mark.parametrize("wrong", ["view", ".x", "x.", 7, ("a.b", "c"), None])
def test_what_is_no_permission_is_refused_where_the_class_is_written(wrong: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"Wrong\.permission_required is a permission as"):
        type("Wrong", (HubConsumer,), {"permission_required": wrong})


# What is heard of changes


def log_out(session: SessionStore, user: Any) -> None:
    request = HttpRequest()
    request.session, request.user = session, user
    logout(request)


async def test_logging_out_closes_the_sessions_sockets_and_no_others(world: World, anna: User) -> None:
    session = await change(lambda: logged_in(anna))
    tabs = [await enter(world, anna, session=await change(lambda: read(session))) for _ in range(2)]
    phone = await enter(world, anna)
    await joined(world, 3)
    dying = await change(lambda: read(session))
    await change(lambda: log_out(session, anna))
    for tab in tabs:
        assert await closed(tab) == (4401, "logged out")
    await until(lambda: sum(isinstance(event, Left) for event in world.events) == 2)
    assert {(e.reason, e.code) for e in world.events if isinstance(e, Left)} == {("kicked", 4401)}
    assert phone.running
    # The page comes back before Django has let go of the session.
    assert await closed(await enter(world, anna, session=dying)) == (4401, "logged out")


async def test_what_happened_before_the_relay_heard_anything_is_made_up_for(
    world: World, anna: User, settings: Any
) -> None:
    settings.DJANGO_HUB = NONE
    session = await change(lambda: logged_in(anna))
    here = await change(lambda: read(session))
    fresh = await User.objects.aget(pk=anna.pk)
    scope = websocket_scope("lobby", user=fresh, session=here, subprotocols=["hub.v1"])
    socket = await world.open(Members.as_asgi(), scope)
    await until(lambda: world.relay.places.visitors)
    await change(lambda: log_out(session, anna))
    await recheck(world)
    assert not world.relay.is_running
    socket.send_nowait('{"type":"connect"}')
    assert await closed(socket) == (4401, "logged out")
    assert not world.events


async def test_channels_logout_is_heard_by_who_comes_in(world: World, anna: User) -> None:
    from channels.auth import logout as channels_logout

    await world.join("other")
    session = await change(lambda: logged_in(anna))
    here = await change(lambda: read(session))
    await channels_logout({"session": session, "user": anna})
    await recheck(world)
    assert await closed(await enter(world, anna, session=here)) == (4401, "no longer logged in")
    # Not one that logged in again.
    await enter(world, anna)
    await recheck(world)
    assert await hub_members_of(anna) == 1


async def hub_members_of(user: Any) -> int:
    return sum([member.user_id == str(user.pk) async for member in hub_members("lobby")])


@pytest.mark.parametrize("what", ["logged out", "inactive", "nothing"])
async def test_who_is_added_long_after_its_user_was_loaded_is_checked(
    world: World, anna: User, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    class Added(StockConsumer):
        async def connect(self) -> None:
            await self.accept()

        async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
            await hub_add("lobby", self, "ann", events=EVENTS)

    await world.join("other")
    session = await change(lambda: logged_in(anna))
    here = await change(lambda: read(session))
    fresh = await User.objects.aget(pk=anna.pk)
    socket = await world.open(Added.as_asgi(), websocket_scope("lobby", user=fresh, session=here))
    if what == "inactive":
        await User.objects.filter(pk=anna.pk).aupdate(is_active=False)
    elif what == "logged out":
        await change(session.delete)
    socket.send_nowait("add me")
    await joined(world, 2)
    if what == "nothing":
        await recheck(world)
        assert await hub_member("lobby", "ann") is not None
    else:
        assert await closed(socket) == (4401, "no longer logged in")


async def test_what_can_not_be_read_is_taken_for_anything(
    world: World, anna: User, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await enter(world, anna)
    await joined(world, 1)
    await User.objects.filter(pk=anna.pk).aupdate(is_active=False)
    unknown = Entry(NOTICES, JsonText('{"v":2}'), kind=Kind.NOTICE)
    kick = Entry(NOTICES, write(Kicked("lobby", "", "ann", 4001, "go"), 1.0), kind=Kind.NOTICE)
    ann = await world.join("ann")
    # In one parcel.
    await asyncio.gather(*(world.relay.sender.broadcast(each) for each in (unknown, kick)))
    assert await closed(socket) == (4401, "no longer logged in")
    assert await closed(ann) == (4001, "go")
    assert "this version can't read" in caplog.text
    for each in (socket, ann):
        await each.leave()
    await until(lambda: not world.relay.is_running)
    # Nor does it keep a relay from beginning.
    log = world.store._logs._logs[NOTICES, ""]
    log.items.append(("an id", "no item"))
    log.seq += 1
    await world.join("ann")


async def test_what_is_forgotten_of_notices_is_made_up_for(
    world: World, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_hub.rechecks._MANY", 2)
    await world.join("other")
    session = await change(lambda: logged_in(anna))
    await change(lambda: CHANGES["inactive"](anna))
    await recheck(world)
    for _ in range(3):
        await change(lambda: log_out(SessionStore(), User(pk=4711)))
        await recheck(world)
    socket = await enter(world, anna, session=session)
    assert await closed(socket) == (4401, "no longer logged in")


async def test_old_notices_are_forgotten_and_made_up_for(
    world: World, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enter(world, anna)
    await joined(world, 1)
    rechecks = world.relay.rechecks
    since = asyncio.get_running_loop().time() - 5
    await change(lambda: (setattr(anna, "first_name", "Anna"), anna.save()))
    await until(lambda: rechecks._recent)
    await rechecks.look()
    assert rechecks._recent
    monkeypatch.setattr("django_hub.rechecks._KEPT", 0.0)
    await rechecks.look()
    assert not rechecks._recent
    # One whose user was loaded before that was heard.
    (watched,) = rechecks.watched.all
    assert rechecks._missed(_Newcomer(watched, since, since)) is True
    later = asyncio.get_running_loop().time()
    assert rechecks._missed(_Newcomer(watched, later, later)) is False


async def test_a_notice_of_a_server_whose_clock_is_behind_is_heard_by_who_comes_then(
    world: World, anna: User
) -> None:
    session = await change(lambda: logged_in(anna))
    await User.objects.filter(pk=anna.pk).aupdate(is_active=False)
    notice = write(UsersChanged((str(anna.pk),)), time.time() - 20)
    await world.relay.sender.broadcast(Entry(NOTICES, notice, kind=Kind.NOTICE))
    assert not world.relay.is_running
    socket = await enter(world, anna, session=session)
    assert await closed(socket) == (4401, "no longer logged in")


async def test_channels_logout_of_an_unknown_session_closes_all(world: World, anna: User) -> None:
    from channels.auth import logout as channels_logout

    socket = await enter(world, anna)
    await joined(world, 1)
    await channels_logout({"session": SessionStore(), "user": anna})
    assert await closed(socket) == (4401, "logged out")


class Returning(Members):
    grace = 60


async def enter_and_be_lost(world: World, user: Any, session: SessionStore, **scope: Any) -> str:
    """A client of hub.v1 whose connection broke; its id."""
    before = sum(isinstance(event, Joined) for event in world.events)
    socket = await enter(world, user, Returning, session=session, subprotocols=["hub.v1"], **scope)
    socket.send_nowait('{"type":"connect"}')
    await joined(world, before + 1)
    client_id = next(event.client_id for event in reversed(world.events) if isinstance(event, Joined))
    socket.disconnect(1006)
    await until(lambda: is_lost(client_id))
    return client_id


async def is_lost(client_id: str) -> bool:
    member = await hub_member("lobby", client_id)
    return member is not None and member.state == "lost"


async def is_gone(client_id: str) -> bool:
    return await hub_member("lobby", client_id) is None


async def test_logging_out_takes_the_sessions_lost_clients_away(world: World, anna: User) -> None:
    session, other = await change(lambda: logged_in(anna)), await change(lambda: logged_in(anna))
    tab = await enter_and_be_lost(world, anna, await change(lambda: read(session)))
    phone = await enter_and_be_lost(world, anna, await change(lambda: read(other)))
    await change(lambda: log_out(session, anna))
    await until(lambda: is_gone(tab))
    await until(lambda: any(isinstance(event, Left) for event in world.events))
    left = [(e.client_id, e.reason, e.code) for e in world.events if isinstance(e, Left)]
    assert left == [(tab, "kicked", 4401)]
    assert await is_lost(phone)
    await change(lambda: log_out(other, anna))
    await until(lambda: is_gone(phone))
    assert not list(world.relay.rechecks.watched.all)


async def test_who_is_being_lost_when_its_user_logs_out_is_gone(world: World, anna: User) -> None:
    store = world.use_store(FaultyStore())
    session = await change(lambda: logged_in(anna))
    socket = await enter(
        world, anna, Returning, session=await change(lambda: read(session)), subprotocols=["hub.v1"]
    )
    socket.send_nowait('{"type":"connect"}')
    await joined(world, 1)
    await world.relay.idle()
    store.line = asyncio.Event()
    applied = len(store.applied)
    socket.disconnect(1006)
    await until(lambda: len(store.applied) > applied)
    await change(lambda: log_out(session, anna))
    await recheck(world)
    store.line.set()
    await until(lambda: is_gone(world.events[0].client_id))
    await until(lambda: any(isinstance(event, Left) for event in world.events))
    assert [(e.reason, e.code) for e in world.events if isinstance(e, Left)] == [("kicked", 4401)]


CHANGES: dict[str, Any] = {
    "password": lambda user: (user.set_password("other"), user.save()),
    "inactive": lambda user: (setattr(user, "is_active", False), user.save()),
    "deleted": lambda user: user.delete(),
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("session", [True, False])
async def test_a_user_who_may_not_log_in_is_out(world: World, anna: User, what: str, session: bool) -> None:
    other = await User.objects.acreate(username="other")
    bystander = await enter(world, other)
    if session:
        socket = await enter(world, anna)
    else:
        fresh = await User.objects.aget(pk=anna.pk)
        socket = await world.open(Members.as_asgi(), websocket_scope("lobby", user=fresh))
    await joined(world, 2)
    await change(lambda: CHANGES[what](anna))
    assert await closed(socket) == (4401, "no longer logged in")
    assert bystander.running


@pytest.mark.parametrize("what", CHANGES)
async def test_a_lost_client_of_who_may_not_log_in_is_gone(world: World, anna: User, what: str) -> None:
    lost = await enter_and_be_lost(world, anna, await change(lambda: logged_in(anna)))
    await change(lambda: (setattr(anna, "first_name", "Anna"), anna.save()))
    await recheck(world)
    assert await is_lost(lost)
    await change(lambda: CHANGES[what](anna))
    await until(lambda: is_gone(lost))
    await until(lambda: any(isinstance(event, Left) for event in world.events))
    assert [(e.reason, e.code) for e in world.events if isinstance(e, Left)] == [("kicked", 4401)]


async def test_a_new_password_leaves_the_session_in_which_it_was_set(world: World, anna: User) -> None:
    fresh = await User.objects.aget(pk=anna.pk)
    old = await enter(world, anna)
    await joined(world, 1)
    fresh.set_password("other")
    await fresh.asave()
    assert await closed(old) == (4401, "no longer logged in")
    await enter(world, fresh)
    await joined(world, 2)


async def test_what_changes_nothing_closes_nobody(world: World, anna: User) -> None:
    socket = await enter(world, anna)
    await joined(world, 1)
    await change(lambda: (setattr(anna, "first_name", "Anna"), anna.save()))
    await change(lambda: anna.save(update_fields=["last_login"]))
    await change(lambda: get_user_model().objects.create(username="new"))
    await recheck(world)
    assert socket.running


async def recheck(world: World) -> None:
    """Wait for checks that are under way."""
    from django_hub.background import background

    await asyncio.to_thread(background.finish)
    await turns(50)
    await until(lambda: world.relay.rechecks.inquiries.is_idle)


REVOKED: dict[str, Any] = {
    "user.groups": lambda user, group: user.groups.remove(group),
    "group.user_set": lambda user, group: group.user_set.remove(user),
    "group.user_set.clear": lambda user, group: group.user_set.clear(),
    "group.permissions": lambda user, group: group.permissions.clear(),
    "permission.group_set": lambda user, group: group.permissions.get().group_set.remove(group),
    "group": lambda user, group: group.delete(),
    "permission": lambda user, group: group.permissions.get().delete(),
}


@pytest.mark.parametrize("what", REVOKED)
async def test_who_lost_the_permission_is_out(world: World, anna: User, readers: Group, what: str) -> None:
    await change(lambda: readers.user_set.add(anna))
    berta = await User.objects.acreate(username="berta", is_superuser=True)
    reading, member = await enter(world, anna, Readers), await enter(world, anna, Members)
    root = await enter(world, berta, Readers)
    await joined(world, 3)
    await change(lambda: REVOKED[what](anna, readers))
    assert await closed(reading) == (4403, "not allowed")
    await recheck(world)
    assert member.running
    assert root.running


async def test_what_is_rolled_back_is_not_told(world: World, anna: User, readers: Group) -> None:
    await change(lambda: readers.user_set.add(anna))
    socket = await enter(world, anna, Readers)
    await joined(world, 1)

    def roll_back() -> None:
        with transaction.atomic():
            readers.permissions.clear()
            transaction.set_rollback(True)

    await change(roll_back)
    await recheck(world)
    assert socket.running


async def test_a_revoked_group_costs_one_query(world: World, readers: Group) -> None:
    users = [User(username=f"u{number}") for number in range(20)]
    await User.objects.abulk_create(users)
    await change(lambda: readers.user_set.add(*users))
    sockets = [await enter(world, user, Readers) for user in users for _ in range(2)]
    await joined(world, 40)

    from django_hub.logins import Fresh, look_up

    scopes = [watched.scope for watched in world.relay.rechecks.watched.all]
    group_id = str(readers.pk)

    def counted() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            (found,) = look_up(scopes, {READ}, {group_id})
        assert all(isinstance(each, Fresh) and each.granted == {READ: True} for each in found)
        return [query["sql"] for query in queries]

    assert len(await change(counted)) == 1
    await change(lambda: readers.permissions.clear())
    for socket in sockets:
        assert await closed(socket) == (4403, "not allowed")


async def test_a_check_of_many_is_not_held_up_by_collections(
    world: World, readers: Group, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    collecting: list[bool] = []
    look_up = inquiries.look_up

    def looked_up(*args: Any, **options: Any) -> Any:
        collecting.append(gc.isenabled())
        if len(collecting) == 1:
            raise OperationalError("gone")
        yield from look_up(*args, **options)

    await change(lambda: readers.user_set.add(anna))
    socket = await enter(world, anna, Readers)
    await joined(world, 1)
    await recheck(world)
    monkeypatch.setattr(inquiries, "look_up", looked_up)
    monkeypatch.setattr(inquiries, "_MANY", 1)
    await change(lambda: readers.permissions.clear())
    assert await closed(socket) == (4403, "not allowed")
    await recheck(world)
    assert collecting == [False, False]
    assert gc.isenabled()
    gc.disable()
    try:
        await enter(world, anna, Members)
        await joined(world, 2)
        await change(lambda: (setattr(anna, "first_name", "Anna"), anna.save()))
        await recheck(world)
        assert not gc.isenabled(), "who collects by himself goes on so"
    finally:
        gc.enable()


async def test_the_projects_own_authorize_is_asked_again_with_a_user_loaded_anew(
    world: World, anna: User
) -> None:
    class Named(Members):
        async def authorize(self) -> bool:
            if self.scope["user"].first_name == "failing":
                raise ValueError("asked to")
            if self.scope["user"].first_name == "hasty":
                return super().authorize()  # type: ignore[return-value]
            return self.scope["user"].first_name != "out"

    socket, other = await enter(world, anna, Named), await enter(world, anna, Members)
    await joined(world, 2)
    await change(lambda: (setattr(anna, "first_name", "out"), anna.save()))
    assert await closed(socket) == (4403, "not allowed")
    await change(lambda: (setattr(anna, "first_name", "in"), anna.save()))
    socket = await enter(world, anna, Named)
    await joined(world, 3)
    for number, name in enumerate(("failing", "hasty"), start=4):
        await change(lambda name=name: (setattr(anna, "first_name", name), anna.save()))
        assert await closed(socket) == (1011, "the server failed")
        await change(lambda: (setattr(anna, "first_name", "in"), anna.save()))
        socket = await enter(world, anna, Named)
        await joined(world, number)
    assert other.running


class Hanging(Members):
    """Lets in at once, and takes for ever when it is asked again."""

    asked: ClassVar[int] = 0
    let_in: ClassVar[set[Hanging]] = set()

    async def authorize(self) -> bool:
        if self in self.let_in:
            Hanging.asked += 1
            await asyncio.Event().wait()
        self.let_in.add(self)
        return True


async def test_hooks_that_hang_hold_up_no_logins_and_no_other_hooks(
    world: World, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Named(Members):
        async def authorize(self) -> bool:
            return self.scope["user"].first_name != "out"

    monkeypatch.setattr(Hanging, "asked", 0)
    monkeypatch.setattr(Hanging, "let_in", set())
    berta = await User.objects.acreate(username="berta")
    session = await change(lambda: logged_in(anna))
    for _ in range(20):
        await enter(world, anna, Hanging, session=session)
    named, plain = await enter(world, berta, Named), await enter(world, berta)
    await joined(world, 22)
    await change(lambda: (setattr(anna, "first_name", "Anna"), anna.save()))
    await until(lambda: Hanging.asked == 20)
    await change(lambda: (setattr(berta, "first_name", "out"), berta.save()))
    assert await closed(named) == (4403, "not allowed")
    await change(lambda: CHANGES["inactive"](berta))
    assert await closed(plain) == (4401, "no longer logged in")
    await change(lambda: CHANGES["inactive"](anna))
    await until(
        lambda: all(type(each.consumer) is not Hanging for each in world.relay.rechecks.watched.all)
    )
    assert Hanging.asked == 20


async def test_who_is_just_asked_is_asked_once_more_of_its_newest_user(world: World, anna: User) -> None:
    gate, asked = asyncio.Event(), list[str]()

    class Slow(Members):
        async def authorize(self) -> bool:
            name = self.scope["user"].first_name
            asked.append(name)
            if name:
                await gate.wait()
            return name != "three"

    socket = await enter(world, anna, Slow)
    await joined(world, 1)
    for number, name in enumerate(("one", "two", "three"), start=1):
        await change(lambda name=name: (setattr(anna, "first_name", name), anna.save()))
        await until(lambda number=number: len(asked) > 1 and looked_up(world, number))
    assert asked == ["", "one"]
    gate.set()
    assert await closed(socket) == (4403, "not allowed")
    assert asked == ["", "one", "three"]


def looked_up(world: World, count: int) -> bool:
    """So many notices were heard, and acted on as far as that needs no hooks."""
    rechecks = world.relay.rechecks
    return len(rechecks._recent) >= count and rechecks.inquiries._task is None


async def test_a_hook_that_awaits_what_was_cancelled_has_failed_and_costs_no_other(
    world: World, anna: User, caplog: pytest.LogCaptureFixture
) -> None:
    class Unlucky(Members):
        async def authorize(self) -> bool:
            if self.scope["user"].first_name:
                raise asyncio.CancelledError
            return True

    class Named(Members):
        async def authorize(self) -> bool:
            return not self.scope["user"].first_name

    unlucky, named = await enter(world, anna, Unlucky), await enter(world, anna, Named)
    await joined(world, 2)
    await change(lambda: (setattr(anna, "first_name", "Anna"), anna.save()))
    assert await closed(unlucky) == (1011, "the server failed")
    assert await closed(named) == (4403, "not allowed")
    assert "Unlucky failed when it was asked again" in caplog.text


async def test_inquiries_that_were_ended_go_on_when_they_are_wanted_again(world: World, anna: User) -> None:
    socket = await enter(world, anna)
    await joined(world, 1)
    inquiries_ = world.relay.rechecks.inquiries
    # As when the relay stops in the moment in which it hears of something.
    inquiries_.of_everybody()
    inquiries_.end()
    await turns()
    await User.objects.all().aupdate(is_active=False)
    inquiries_.of_everybody()
    assert await closed(socket) == (4401, "no longer logged in")


async def test_stock_consumers_go_with_the_login(world: World, anna: User) -> None:
    fresh = await User.objects.aget(pk=anna.pk)

    class Added(StockConsumer):
        async def connect(self) -> None:
            await self.accept()
            await hub_add("lobby", self, "anna", events=EVENTS)

    socket = await world.open(Added.as_asgi(), websocket_scope("lobby", user=fresh))
    await joined(world, 1)
    await change(lambda: CHANGES["inactive"](anna))
    assert await closed(socket) == (4401, "no longer logged in")


async def test_what_no_signal_tells_is_seen_with_the_regular_check(world: World, anna: User) -> None:
    gone, kept = await enter(world, anna), await enter(world, anna)
    await joined(world, 2)
    session = gone.scope["session"]
    await change(session.delete)
    rechecks = world.relay.rechecks
    await rechecks.look()
    assert rechecks.inquiries.is_idle
    rechecks._checked = -1e9
    await rechecks.look()
    assert await closed(gone) == (4401, "no longer logged in")
    await User.objects.filter(pk=anna.pk).aupdate(is_active=False)
    rechecks._checked = -1e9
    await rechecks.look()
    assert await closed(kept) == (4401, "no longer logged in")


async def test_a_notice_that_the_layer_lost_is_had_with_the_next_beat(
    world: World, anna: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = await enter(world, anna)
    await joined(world, 1)
    lost: list[Any] = []

    async def lose(self: Any, messages: Any) -> dict[Any, Exception]:
        lost.append(messages)
        return {}

    with monkeypatch.context() as patch:
        patch.setattr("django_hub.layers.base.Layer.deliver", lose)
        await change(lambda: CHANGES["inactive"](anna))
        await until(lambda: lost)
        await recheck(world)
    assert socket.running
    await world.relay.beat()
    assert await closed(socket) == (4401, "no longer logged in")


async def test_where_notices_are_gone_all_are_checked(world: World, anna: User) -> None:
    socket = await enter(world, anna)
    await joined(world, 1)
    await User.objects.filter(pk=anna.pk).aupdate(is_active=False)
    # The store was emptied: the log begins anew, in another epoch.
    world.store._logs._logs.clear()
    await world.relay.beat()
    assert await closed(socket) == (4401, "no longer logged in")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OperationalError("gone"), "can't be checked again, for now: gone"),
        (KeyError("a manager of the project's"), "KeyError"),
    ],
    ids=["a database that is away", "what nobody foresaw"],
)
async def test_users_that_can_not_be_looked_up_are_asked_for_again(
    world: World,
    anna: User,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    said: str,
) -> None:
    socket = await enter(world, anna)
    await joined(world, 1)
    errors, look_up = [error], inquiries.look_up

    def failing(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return look_up(*args, **options)

    monkeypatch.setattr(inquiries, "look_up", failing)
    await change(lambda: CHANGES["inactive"](anna))
    assert await closed(socket) == (4401, "no longer logged in")
    assert said in caplog.text


class Directory(ModelBackend):
    """Knows users elsewhere, and is asked for each."""

    error: ClassVar[Exception | None] = None
    takes: ClassVar[float] = 0.0
    asked: ClassVar[list[Any]] = []

    def get_user(self, user_id: Any) -> Any:
        Directory.asked.append(user_id)
        time.sleep(self.takes)
        if self.error is not None:
            raise self.error
        return super().get_user(user_id)


@pytest.fixture
def directory(settings: Any, monkeypatch: pytest.MonkeyPatch) -> type[Directory]:
    path = f"{__name__}.Directory"
    settings.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", path]
    monkeypatch.setattr(Directory, "error", None)
    monkeypatch.setattr(Directory, "takes", 0.0)
    monkeypatch.setattr(Directory, "asked", [])
    return Directory


def known_to(directory: type[Directory], user: Any) -> SessionStore:
    session = logged_in(user)
    session[BACKEND_SESSION_KEY] = f"{__name__}.{directory.__name__}"
    return session


async def test_who_can_not_be_asked_for_one_user_is_asked_again_and_keeps_no_other(
    world: World,
    anna: User,
    directory: type[Directory],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("django_hub.inquiries._LATER", 0.1)
    berta = await User.objects.acreate(username="berta")
    there = await enter(world, anna, session=await change(lambda: known_to(directory, anna)))
    here = await enter(world, berta)
    await joined(world, 2)
    monkeypatch.setattr(directory, "error", OSError("the directory is away"))
    await User.objects.all().aupdate(is_active=False)
    world.relay.rechecks.inquiries.of_everybody()
    assert await closed(here) == (4401, "no longer logged in")
    await until(lambda: len(directory.asked) > 2)
    assert there.running
    assert "can't be checked again, for now: the directory is away" in caplog.text
    monkeypatch.setattr(directory, "error", None)
    assert await closed(there) == (4401, "no longer logged in")


async def test_who_is_asked_one_by_one_lets_others_to_the_database(
    world: World, anna: User, directory: type[Directory], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await change(lambda: known_to(directory, anna))
    for _ in range(20):
        await enter(world, anna, session=session)
    await joined(world, 20)
    await recheck(world)
    directory.asked.clear()
    monkeypatch.setattr(directory, "takes", 0.02)
    world.relay.rechecks.inquiries.of_everybody()
    await until(lambda: directory.asked)
    assert await change(lambda: len(directory.asked)) < 20
    await recheck(world)
    assert len(directory.asked) == 20


async def test_sessions_that_are_in_no_database_are_asked_for(world: World, anna: User) -> None:
    kept, ended = CacheSession(), CacheSession()
    for session in (kept, ended):
        session.update(await change(lambda: dict(logged_in(anna).items())))
        await change(session.save)
    here, there = await enter(world, anna, session=kept), await enter(world, anna, session=ended)
    await joined(world, 2)
    await change(lambda: ended.delete())
    world.relay.rechecks.inquiries.of_everybody()
    assert await closed(there) == (4401, "no longer logged in")
    await recheck(world)
    assert here.running


async def test_a_hook_may_refuse_with_a_code_of_its_own_when_asked_again(world: World, anna: User) -> None:
    class Paying(Members):
        async def authorize(self) -> bool:
            match self.scope["user"].first_name:
                case "out":
                    raise Refused(4402, "pay first")
                case "denied":
                    raise DenyConnection
            return True

    for name, end in (("out", (4402, "pay first")), ("denied", (4403, "not allowed"))):
        socket = await enter(world, anna, Paying)
        await until(lambda: world.store.count("lobby"))
        await change(lambda name=name: (setattr(anna, "first_name", name), anna.save()))
        assert await closed(socket) == end
        await change(lambda: (setattr(anna, "first_name", ""), anna.save()))


async def test_without_clients_nothing_is_sent(world: World, anna: User) -> None:
    await change(lambda: CHANGES["inactive"](anna))
    await recheck(world)
    assert not world.store._logs._logs


@pytest.mark.parametrize("what", ["logged out", "inactive"])
async def test_what_happens_while_the_only_socket_comes_in_is_told_it(
    world: World, anna: User, what: str
) -> None:
    session = await change(lambda: logged_in(anna))
    here = await change(lambda: read(session))
    fresh = await User.objects.aget(pk=anna.pk)
    scope = websocket_scope("lobby", user=fresh, session=here, subprotocols=["hub.v1"])
    socket = await world.open(Members.as_asgi(), scope)
    await until(lambda: world.relay.places.visitors)
    if what == "inactive":
        await change(lambda: CHANGES["inactive"](anna))
    else:
        await change(lambda: log_out(session, anna))
    await recheck(world)
    socket.send_nowait('{"type":"connect"}')
    assert (await closed(socket))[0] == 4401
    await socket.ended()
    assert not world.relay.places.visitors


def test_saving_a_user_needs_no_channel_layer(
    anna: User, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CHANNEL_LAYERS = {}
    for _ in range(2):
        with transaction.atomic():
            anna.save()
        anna.save()
    told = [each for each in caplog.messages if "Changes of users' rights are told to no server" in each]
    assert len(told) == 1


async def test_a_request_does_not_fail_where_the_store_does(
    world: World, anna: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await enter(world, anna)
    await joined(world, 1)

    def no_sender() -> Any:
        raise RuntimeError("no way out")

    monkeypatch.setattr("django_hub.changes.get_relay", no_sender)
    await change(lambda: CHANGES["inactive"](anna))
    await recheck(world)
    assert "Not told to the servers" in caplog.text


# May send, may hear


def talk(*frames: dict[str, Any]) -> list[str]:
    return [json.dumps(frame) for frame in frames]


async def speak(world: World, name: str, path: str = "/") -> Socket:
    """A client of hub.v1 that has said connect."""
    scope = websocket_scope("lobby", client_id=name) | {"path": path, "subprotocols": ["hub.v1"]}
    socket = await world.open(Quiet.as_asgi(), scope)
    socket.send_nowait('{"type":"connect"}')
    return socket


async def frames(socket: Socket, count: int) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in await socket.receive_all(count)]


async def test_a_member_that_may_not_send_is_told_so_and_stays(world: World) -> None:
    socket = await speak(world, "ann", "/mute")
    await frames(socket, 1)
    for frame in talk({"type": "message", "id": 1, "data": 1}, {"type": "request", "id": 2, "data": 2}):
        socket.send_nowait(frame)
    said = {"code": 4403, "reason": "this client may not send"}
    while (frame := json.loads(await socket.receive())).get("type") == "presence":
        pass
    assert frame == {"type": "refused", "id": 1, **said}
    while (frame := json.loads(await socket.receive())).get("type") == "presence":
        pass
    assert frame == {"type": "refused", "id": 2, **said}
    socket.send_nowait('{"type":"ping"}')
    assert "pong" in str(await socket.receive())
    await hub_broadcast("lobby", "heard")
    assert json.loads(await socket.receive())["data"] == "heard"
    await joined(world, 1)
    await world.relay.idle()
    assert [type(event) for event in world.events] == [Joined]


async def test_a_raw_one_that_may_not_send_is_closed(world: World) -> None:
    socket = await world.join("ann", consumer=Quiet, path="/mute")
    socket.send_nowait("hello")
    assert await closed(socket) == (4403, "this client may not send")
    await until(lambda: len(world.events) == 2)
    assert [type(event) for event in world.events] == [Joined, Left]


async def test_a_member_that_may_not_receive_hears_what_is_for_it_alone(world: World) -> None:
    deaf = await world.join("deaf", consumer=Quiet, path="/deaf")
    talking = await speak(world, "talking", "/deaf")
    ears = await world.join("ears", consumer=Quiet, path="/")
    (hello,) = await frames(talking, 1)
    assert "presence" not in hello
    assert hello["recovered"] == "new"
    for number, condition in enumerate([None, lambda member: True]):
        await hub_broadcast("lobby", f"for all {number}", condition)
    await hub_broadcast("lobby", "for some", only=["deaf", "talking", "ears"])
    await hub_broadcast("lobby", "for others", exclude=["nobody"])
    await hub_broadcast("lobby", "droppable", lambda member: True, droppable=True)
    for name in ("deaf", "talking"):
        assert await hub_send(name, "for you", hub="lobby")
    assert await ears.receive_all(5) == ["for all 0", "for all 1", "for some", "for others", "droppable"]
    assert await deaf.receive() == "for you"
    assert [frame["data"] for frame in await frames(talking, 1)] == ["for you"]
    await hub_broadcast("lobby", "more")
    await ears.receive()
    assert deaf.received() == talking.received() == []


async def test_who_may_not_receive_gets_no_history_either(world: World) -> None:
    ears = await world.join("ears", consumer=Quiet, path="/")
    for number in range(3):
        await hub_broadcast("lobby", str(number))
    await ears.receive_all(3)
    epoch = (await world.store.history("lobby", 0)).epoch
    scope = websocket_scope("lobby", client_id="spy") | {"path": "/deaf", "subprotocols": ["hub.v1"]}
    spy = await world.open(Quiet.as_asgi(), scope)
    spy.send_nowait(json.dumps({"type": "connect", "epoch": epoch, "seq": 0}))
    (hello,) = await frames(spy, 1)
    assert hello["recovered"] == "new"
    await turns()
    assert spy.received() == []


async def test_what_may_be_heard_changes_while_connected(world: World, anna: User) -> None:
    class Fickle(Members):
        async def may_receive(self) -> bool:
            return self.scope["user"].first_name != "deaf"

    socket = await enter(world, anna, Fickle)
    await joined(world, 1)
    (watched,) = world.relay.rechecks.watched.all
    await change(lambda: (setattr(anna, "first_name", "deaf"), anna.save()))
    await until(lambda: not watched.connection.hears)
    await hub_broadcast("lobby", "unheard")
    await change(lambda: (setattr(anna, "first_name", "ears"), anna.save()))
    await until(lambda: watched.connection.hears)
    await hub_broadcast("lobby", "heard")
    assert await socket.receive() == "heard"


# Kicks and bans


async def test_a_client_is_kicked_once_and_may_come_again(world: World) -> None:
    ann, bob = await world.join("ann"), await world.join("bob")
    assert await hub_kick("lobby", client_id="ann", code=4001, reason="enough") == 1
    assert await hub_member("lobby", "ann") is None
    assert await closed(ann) == (4001, "enough")
    await until(lambda: any(isinstance(event, Left) for event in world.events))
    (left,) = [event for event in world.events if isinstance(event, Left)]
    assert (left.client_id, left.reason, left.code) == ("ann", "kicked", 4001)
    assert await hub_kick("lobby", client_id="ann") == 0
    assert bob.running
    await world.join("ann")


class Guests(OpenConsumer):
    """Who stands on a list of the project's own, which no signal tells of."""

    grace = 0
    invited: ClassVar[set[str]] = set()

    async def authorize(self) -> bool:
        return self.client_id in self.invited


@pytest.mark.parametrize("keeper", [True, False])
@pytest.mark.parametrize("logs_in", [True, False])
async def test_who_is_kicked_while_it_comes_in_is_asked_again(
    world: World, anna: User, settings: Any, keeper: bool, logs_in: bool
) -> None:
    # Without these the relay begins to hear only when the client joins.
    settings.DJANGO_HUB = NONE
    if keeper:
        await world.join("other", "garden")
    Guests.invited = {"ann"}
    scope = websocket_scope("lobby", client_id="ann", user=anna if logs_in else AnonymousUser())
    socket = await world.open(Guests.as_asgi(), scope | {"subprotocols": ["hub.v1"]})
    # Its hooks have let it in, and it takes its time to say `connect`.
    Guests.invited = set()
    assert await hub_kick("lobby", **({"user": anna} if logs_in else {"client_id": "ann"})) == 0
    socket.send_nowait('{"type":"connect"}')
    assert await closed(socket) == (4403, "not allowed")
    await socket.ended()
    # It may come again where its hooks say so.
    Guests.invited = {"ann"}
    again = await world.open(Guests.as_asgi(), dict(scope))
    await until(lambda: hub_member("lobby", "ann"))
    await until(lambda: world.relay.rechecks.inquiries.is_idle)
    assert again.running


async def test_all_of_a_users_clients_are_kicked_from_this_hub(world: World, anna: User) -> None:
    sockets = [await enter(world, anna) for _ in range(3)]
    elsewhere = await enter(world, anna, hub="garden")
    await joined(world, 4)
    assert await hub_kick("lobby", user=anna) == 3
    for socket in sockets:
        assert await closed(socket) == (4403, "kicked")
    assert elsewhere.running
    assert await hub_kick("lobby", user=str(anna.pk)) == 0


@pytest.mark.parametrize("where", ["a request's", "a scope's"])
async def test_a_lazy_user_is_a_user(world: World, anna: User, where: str) -> None:
    """`request.user`, and the user of a scope, which stand for the user until somebody looks."""
    if where == "a scope's":
        lazy: Any = UserLazyObject()
        lazy._wrapped = anna
    else:
        lazy = SimpleLazyObject(lambda: anna)
    socket = await enter(world, anna)
    await joined(world, 1)
    assert await hub_ban("lobby", user=lazy, seconds=60) == 1
    assert (await closed(socket))[0] == 4403
    assert await hub_unban("lobby", user=lazy)


async def test_a_lost_client_that_is_kicked_does_not_resume(world: World) -> None:
    socket = await speak(world, "ann")
    (hello,) = await frames(socket, 1)
    socket.disconnect(1006)
    await until(lambda: hub_member("lobby", "ann"))
    member = await hub_member("lobby", "ann")
    while member is not None and member.state != "lost":
        await turns()
        member = await hub_member("lobby", "ann")
    assert await hub_kick("lobby", client_id="ann") == 1
    assert await hub_member("lobby", "ann") is None
    scope = websocket_scope("lobby", client_id="ann") | {"subprotocols": ["hub.v1"]}
    back = await world.open(Quiet.as_asgi(), scope)
    back.send_nowait(json.dumps({"type": "connect", "token": hello["token"]}))
    assert (await frames(back, 1))[0]["resumed"] is False


async def test_a_client_of_hub_v1_is_told_not_to_come_back(world: World) -> None:
    socket = await speak(world, "ann")
    await frames(socket, 1)
    await hub_kick("lobby", client_id="ann", reason="spam")
    while (frame := json.loads(await socket.receive())).get("type") == "presence":
        pass
    assert frame == {"type": "closing", "code": 4403, "reason": "spam", "reconnect": False}
    # Nor with a code after which it would.
    socket = await speak(world, "ann")
    await frames(socket, 1)
    await hub_kick("lobby", client_id="ann", code=1012)
    while (frame := json.loads(await socket.receive())).get("type") == "presence":
        pass
    assert frame == {"type": "closing", "code": 1012, "reason": "kicked", "reconnect": False}


async def test_who_is_banned_is_put_out_and_not_let_in(world: World, anna: User) -> None:
    socket, other = await enter(world, anna), await world.join("other")
    await joined(world, 2)
    assert await hub_ban("lobby", user=anna, seconds=60, reason="spam") == 1
    assert await closed(socket) == (4403, "banned: spam")
    assert await closed(await enter(world, anna)) == (4403, "banned: spam")
    await enter(world, anna, hub="garden")
    await joined(world, 3)
    assert await hub_unban("lobby", user=anna) is True
    assert await hub_unban("lobby", user=anna) is False
    await enter(world, anna)
    await joined(world, 4)
    await hub_ban("lobby", user=anna, seconds=0.05)
    await until(lambda: not_banned(world, anna))
    await enter(world, anna)
    await joined(world, 5)
    assert other.running


async def not_banned(world: World, user: Any) -> bool:
    return await world.store.bans([("lobby", f"user:{user.pk}")]) == [None]


@pytest.mark.parametrize("keeper", [True, False])
async def test_who_is_banned_just_after_the_store_was_asked_is_out(
    world: World, anna: User, settings: Any, monkeypatch: pytest.MonkeyPatch, keeper: bool
) -> None:
    # Without these the relay begins to hear only when the client joins.
    settings.DJANGO_HUB = NONE
    if keeper:
        await world.join("other")
    bans, asked, answer = world.store.bans, asyncio.Event(), asyncio.Event()

    async def slow(subjects: Any) -> Any:
        found = await bans(subjects)
        asked.set()
        await answer.wait()
        return found

    monkeypatch.setattr(world.store, "bans", slow)
    entering = asyncio.create_task(enter(world, anna))
    await asked.wait()
    await hub_ban("lobby", user=anna, seconds=60, reason="spam")
    answer.set()
    assert await closed(await entering) == (4403, "banned: spam")


@pytest.fixture
def lost_notices(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Notices that the channel layer carries are lost on their way; and which."""
    lost: list[Any] = []
    put = Ordering.put

    def lose(self: Ordering, entries: Any) -> None:
        lost.extend(each for each in entries if each.hub == NOTICES)
        put(self, [each for each in entries if each.hub != NOTICES])

    monkeypatch.setattr(Ordering, "put", lose)
    return lost


async def test_a_server_that_missed_a_kick_hears_of_it_with_its_beat(
    world: World, anna: User, settings: Any, monkeypatch: pytest.MonkeyPatch, lost_notices: list[Any]
) -> None:
    settings.DJANGO_HUB = {"BEAT": 1.0}
    monkeypatch.setattr("django_hub.bans._PATIENCE", 0.5)
    socket = await enter(world, anna)
    await joined(world, 1)
    assert await hub_kick("lobby", user=anna) == 1
    assert lost_notices
    # It was its own server that took it out.
    assert not list(world.relay.rechecks.watched.all)
    assert await closed(socket) == (4403, "kicked")
    await world.heard(("joined", mine(world)), ("left", mine(world), "kicked"))


async def test_who_is_banned_and_has_not_heard_of_it_does_not_join_again(
    world: World, anna: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DJANGO_HUB = {"BEAT": 0.05}
    monkeypatch.setattr("django_hub.bans._PATIENCE", 0.05)
    # Its server hangs where it hears, and serves its clients.
    monkeypatch.setattr("django_hub.rechecks.Rechecks._hear", lambda *_: None)
    socket = await enter(world, anna)
    await joined(world, 1)
    assert await hub_ban("lobby", user=anna, seconds=60, reason="spam") == 1
    assert await world.store.count("lobby") == 0
    socket.send_nowait("I am still here")
    assert await closed(socket) == (4403, "banned: spam")
    await socket.ended()
    await world.heard(("joined", mine(world)), ("left", mine(world), "kicked"))


def mine(world: World) -> str:
    return next(event.client_id for event in world.events)


async def test_a_ban_of_a_client_id_holds_for_added_consumers_too(world: World) -> None:
    await hub_ban("lobby", client_id="ann", seconds=60)
    socket = await world.open(OpenConsumer.as_asgi(), websocket_scope("lobby", client_id="ann"))
    assert await closed(socket) == (4403, "banned")
    refused: list[Refused] = []

    class Added(StockConsumer):
        async def connect(self) -> None:
            await self.accept()
            try:
                await hub_add("lobby", self, "ann", events=EVENTS)
            except Refused as error:
                refused.append(error)

    await world.open(Added.as_asgi(), websocket_scope("lobby"))
    await until(lambda: refused)
    assert refused[0].code == 4403
    assert not world.events


async def test_kicks_and_bans_refuse_what_makes_no_sense(world: World) -> None:
    for wrong in ({}, {"client_id": "a", "user": 7}):
        with pytest.raises(TypeError, match=r"client_id=\.\.\. or user="):
            await hub_kick("lobby", **wrong)
    with pytest.raises(TypeError, match="in the database"):
        await hub_kick("lobby", user=User())
    for nobody in ([7, 8], User, True, b"7", ""):
        with pytest.raises(TypeError, match="user is one user who is in the database, or its primary key"):
            await hub_ban("lobby", user=nobody, seconds=60)
    with pytest.raises(InvalidMessage):
        await hub_kick("lobby", client_id="a", code=7)
    for reason in (None, 7, "\ud800"):
        with pytest.raises(InvalidMessage, match="A close reason is text"):
            await hub_ban("lobby", client_id="a", seconds=60, reason=reason)
    for seconds in (0, -1, float("inf"), 1e16, True, "60"):
        with pytest.raises(InvalidBound, match="number of seconds"):
            await hub_ban("lobby", client_id="a", seconds=seconds)


async def test_who_waits_for_the_check_of_bans_hears_that_its_socket_has_ended(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    store = world.use_store(FaultyStore())
    store.fail["bans"] = [Unavailable("gone")] * 10_000
    opened = [await world.open(OpenConsumer.as_asgi(), websocket_scope("lobby")) for _ in range(10)]
    await until(lambda: store.calls.count("bans") > 10)
    for socket in opened:
        socket.send_nowait("said in vain")
        socket.disconnect(1006)
        await socket.ended()
    store.fail["bans"].clear()
    assert not world.events
    assert sum("Clients wait to be let in" in message for message in caplog.messages) == 1


async def test_what_is_said_while_the_check_of_bans_waits_is_not_lost(world: World) -> None:
    store = world.use_store(FaultyStore())
    store.fail["bans"] = [Unavailable("gone")] * 4
    socket = await world.open(OpenConsumer.as_asgi(), websocket_scope("lobby", client_id="ann"))
    for text in ("one", "two", "three"):
        socket.send_nowait(text)
    said = [("message", "ann", text) for text in ("one", "two", "three")]
    await world.heard(("joined", "ann"), *said)


# Tickets


async def test_a_ticket_is_a_way_in_without_a_cookie(world: World, anna: User) -> None:
    ticket = hub_ticket(anna, "lobby")
    scope = websocket_scope("lobby") | {"subprotocols": [f"hub.ticket.{ticket}"]}
    socket = await world.open(Strangers.as_asgi(), scope)
    await joined(world, 1)
    assert world.events[0].user_id == str(anna.pk)
    again = await world.open(Strangers.as_asgi(), dict(scope))
    assert await closed(again) == (4401, "the ticket was used before")
    await change(lambda: CHANGES["password"](anna))
    assert await closed(socket) == (4401, "no longer logged in")


async def test_where_a_ticket_is_required_a_cookie_is_not_enough(world: World, anna: User) -> None:
    assert await closed(await enter(world, anna, Strangers)) == (4401, "this needs a ticket")


async def test_a_ticket_goes_before_the_cookies_user(world: World, anna: User) -> None:
    other = await User.objects.acreate(username="other")
    socket = await enter(world, anna, subprotocols=["hub.v1", f"hub.ticket.{hub_ticket(other, 'lobby')}"])
    socket.send_nowait('{"type":"connect"}')
    await joined(world, 1)
    assert world.events[0].user_id == str(other.pk)
    wrong = await enter(world, anna, subprotocols=["hub.v1", "hub.ticket.wrong"])
    frame = json.loads(await wrong.receive())
    assert frame == {
        "type": "closing",
        "code": 4401,
        "reason": "the ticket is not valid",
        "reconnect": False,
    }
