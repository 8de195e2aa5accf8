"""HubConsumer: who gets in, what it hands on, and every way in which its socket can end."""

import asyncio
import json
import logging
import time
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.exceptions import DenyConnection
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_hub import connection as connections
from django_hub import consumers, door
from django_hub.api import hub_broadcast, hub_destroy, hub_member, hub_send
from django_hub.consumers import HubConsumer
from django_hub.events import Event, Joined, Left, Message
from django_hub.exceptions import InvalidMessage, Refused, Unavailable
from django_hub.messages import Close
from django_hub.wires.choice import Wires
from tests.apps import EVENTS, FaultyStore, OpenConsumer, World
from tests.apps import world as world
from tests.sockets import Closed, Socket, turns, until, websocket_scope


class Users(HubConsumer):
    """All hooks as they come."""

    events = EVENTS


class Echo(OpenConsumer):
    """Does what its client asks for: echo, fail, close, wait; else posts."""

    made: list["Echo"] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.answers: list[Any] = []
        self.gate = asyncio.Event()
        Echo.made.append(self)

    async def on_message(self, data: str | bytes) -> None:
        match data:
            case "echo":
                self.answers.append(await self.send({"echo": data}))
            case "fail":
                raise ValueError("asked to")
            case "close":
                self.answers.append(await self.close(4001, "asked to"))
                self.answers.append(await self.close(4002))
                self.answers.append(await self.send("late"))
            case "bad":
                await self.send({1: "int key"})
            case "bad close":
                await self.close("4000")  # type: ignore[arg-type]
            case "busy":
                await self.gate.wait()
            case _:
                await super().on_message(data)


@pytest.fixture(autouse=True)
def forget_made() -> Any:
    Echo.made.clear()
    yield
    Echo.made.clear()


async def open_with(world: World, consumer: type[HubConsumer], hub: str = "lobby", **scope: Any) -> Socket:
    return await world.open(consumer.as_asgi(), websocket_scope(hub, **scope))


def left_of(world: World) -> Left:
    (left,) = [event for event in world.events if isinstance(event, Left)]
    return left


# Who gets in


async def test_a_user_is_let_in_and_known_by_its_key(world: World) -> None:
    await open_with(world, Users, user=User(pk=7))
    await until(lambda: world.events)
    (joined,) = world.events
    assert isinstance(joined, Joined)
    assert (joined.hub, joined.user_id, joined.meta) == ("lobby", "7", {})
    assert len(joined.client_id) == 32


async def test_each_client_without_an_id_gets_one_of_its_own(world: World) -> None:
    for _ in range(3):
        await open_with(world, Users, user=User(pk=7))
    await until(lambda: len(world.events) == 3)
    assert len({event.client_id for event in world.events}) == 3


@pytest.mark.parametrize("user", [AnonymousUser(), None], ids=["anonymous", "none"])
async def test_who_is_not_logged_in_is_accepted_and_closed_with_4403(world: World, user: Any) -> None:
    socket = await open_with(world, Users, user=user)
    assert socket.accepted
    assert await socket.close_code() == 4403
    await socket.ended()
    assert world.events == []


async def test_without_a_user_in_the_scope_the_error_names_the_middleware(world: World) -> None:
    socket = Socket(Users.as_asgi(), websocket_scope("lobby"))
    socket._task = asyncio.create_task(Users.as_asgi()(socket.scope, socket._inbox.get, socket._send))
    socket._inbox.put_nowait({"type": "websocket.connect"})
    failure = await socket.failure()
    assert failure is not None
    assert "ImproperlyConfigured" in failure
    assert "channels.auth.AuthMiddlewareStack" in failure


async def test_without_a_hub_in_the_route_the_error_says_how_to_route(world: World) -> None:
    consumer = Users()
    consumer.scope = {"type": "websocket", "url_route": {"kwargs": {}}}
    with pytest.raises(ImproperlyConfigured, match=r'path\("ws/<hub>/", \.\.\.\)'):
        await consumer.get_hub()


async def test_authorize_that_raises_refuses(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(OpenConsumer):
        async def authorize(self) -> bool:
            raise LookupError("asked to")

    socket = await open_with(world, Failing)
    assert await socket.close_code() == 1011
    assert "failed while it let a client in; refused" in caplog.text
    # What it asks may be there again soon.
    socket = await open_with(world, Failing, subprotocols=["hub.v1"])
    assert json.loads(await socket.receive()) == {
        "type": "closing",
        "code": 1011,
        "reason": "the server failed",
        "reconnect": True,
    }
    assert world.events == []


@pytest.mark.parametrize("does", ["post", "send", "close"])
async def test_a_hook_that_speaks_before_anybody_is_there_is_told_so(
    world: World, caplog: pytest.LogCaptureFixture, does: str
) -> None:
    class Hasty(OpenConsumer):
        async def authorize(self) -> bool:
            await getattr(self, does)(*([] if does == "close" else ["hello"]))
            return True

    socket = await open_with(world, Hasty)
    assert await socket.close_code() == 1011
    assert "Hasty: post, send and close are for a client that was let in" in caplog.text


async def test_a_meta_that_is_too_large_refuses(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Large(OpenConsumer):
        async def get_meta(self) -> dict[str, Any]:
            return {"picture": "a" * 65536}

    socket = await open_with(world, Large)
    assert await socket.close_code() == 1011
    assert "A client's meta, as JSON, has at most 65,536 bytes; got 65,550." in caplog.text


async def test_a_hook_that_awaits_what_was_cancelled_has_failed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Unlucky(OpenConsumer):
        async def authorize(self) -> bool:
            raise asyncio.CancelledError

    socket = await world.open(Unlucky.as_asgi(), websocket_scope("lobby"))
    assert await socket.close_code() == 1011
    assert "Unlucky failed while it let a client in; refused" in caplog.text


async def test_a_message_whose_hook_awaits_what_was_cancelled_is_no_stop_of_the_server(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Unlucky(OpenConsumer):
        async def on_message(self, data: str | bytes) -> None:
            raise asyncio.CancelledError

    ann = await world.join("ann", consumer=Unlucky)
    ann.send_nowait("x")
    assert await ann.close_code() == 1011
    await ann.ended()
    await world.settled()
    assert (left_of(world).reason, left_of(world).code) == ("read", 1011)
    assert "Unlucky failed on a message of ann in hub lobby" in caplog.text


async def test_authorize_knows_the_hub_and_the_client(world: World) -> None:
    known: list[tuple[str, str]] = []

    class Knowing(OpenConsumer):
        async def authorize(self) -> bool:
            known.append((self.hub, self.client_id))
            return False

    socket = await open_with(world, Knowing, client_id="ann")
    assert await socket.close_code() == 4403
    assert known == [("lobby", "ann")]


async def test_a_hook_may_refuse_with_a_code_of_its_own(world: World) -> None:
    class Full(OpenConsumer):
        async def get_hub(self) -> str:
            raise Refused(4429, "full " * 50)

    socket = await open_with(world, Full)
    with pytest.raises(Closed) as closed:
        await socket.receive()
    assert closed.value.code == 4429
    assert len(closed.value.reason.encode()) <= 123


async def not_awaited() -> bool:
    return False


@pytest.mark.parametrize("answer", [not_awaited, lambda: "no", lambda: None, lambda: 1], ids="cn01")
@pytest.mark.parametrize("hook", ["authorize", "may_send", "may_receive"])
async def test_an_answer_that_is_neither_yes_nor_no_lets_nobody_in(
    world: World, hook: str, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def answers(self: HubConsumer) -> Any:
        return answer()

    socket = await open_with(world, type("Hasty", (OpenConsumer,), {hook: answers}))
    assert await socket.close_code() == 1011
    await socket.ended()
    assert world.events == []
    assert f"Hasty.{hook}() must return True or False; got " in caplog.text


HOOKS = ["get_hub", "get_client_id", "get_meta", "authorize", "may_send", "may_receive", "on_message"]


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_that_is_not_async_is_refused_when_the_class_is_made(hook: str) -> None:
    with pytest.raises(TypeError, match=rf"Bad\.{hook} must be 'async def'"):
        type("Bad", (OpenConsumer,), {hook: lambda self, *data: None})


async def test_a_hook_may_run_in_the_databases_thread(world: World) -> None:
    class Threaded(OpenConsumer):
        @database_sync_to_async
        def authorize(self) -> bool:
            return self.hub == "lobby"

    await open_with(world, Threaded)
    await until(lambda: world.events)
    assert await (await open_with(world, Threaded, "other")).close_code() == 4403


@pytest.mark.parametrize("hook", ["get_hub", "get_client_id", "authorize", "get_meta"])
async def test_a_hook_that_hangs_at_the_door_refuses_in_the_end(
    world: World, hook: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(self: HubConsumer) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(door, "DECIDED_WITHIN", 0.05)
    socket = await open_with(world, type("Hanging", (OpenConsumer,), {hook: hang}))
    assert await socket.close_code() == 1011
    assert "Hanging failed while it let a client in; refused" in caplog.text
    assert "TimeoutError" in caplog.text


@pytest.mark.parametrize("code", ["4000", 99, 1006, True, None])
async def test_a_refusal_that_can_not_be_said_is_the_hooks_failure(
    world: World, code: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Misspelt(OpenConsumer):
        async def get_hub(self) -> str:
            raise Refused(code, "x")

    socket = await open_with(world, Misspelt)
    assert await socket.close_code() == 1011
    assert "A close code is one of RFC 6455" in caplog.text


async def test_a_hook_may_deny_before_accepting(world: World) -> None:
    class Denying(OpenConsumer):
        async def authorize(self) -> bool:
            raise DenyConnection

    socket = Socket(Denying.as_asgi(), websocket_scope("lobby"))
    with pytest.raises(Closed):
        await socket.connect()
    assert not socket.accepted
    assert await socket.failure() is None


@pytest.mark.parametrize(
    "name", ["", "x" * 201, "nul\0", "half \ud800"], ids=["empty", "201", "NUL", "surrogate"]
)
@pytest.mark.parametrize("what", ["hub", "client_id"])
async def test_a_bad_name_is_closed_with_4400(world: World, what: str, name: Any) -> None:
    scope = {"hub": "lobby", "client_id": "ann"} | {what: name}
    socket = await open_with(world, OpenConsumer, **scope)
    assert await socket.close_code() == 4400
    await socket.ended()
    assert world.events == []


@pytest.mark.parametrize("hook", ["get_hub", "get_client_id"])
async def test_a_name_that_is_no_text_is_the_hooks_failure(
    world: World, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As of ``path("<int:hub>/")``, or a user's primary key: no client could mend it."""

    async def number(self: HubConsumer) -> int:
        return 5

    socket = await open_with(world, type("Counting", (OpenConsumer,), {hook: number}))
    assert await socket.close_code() == 1011
    assert f"Counting.{hook}() must return text; got int: 5." in caplog.text
    assert "or a str(...)?" in caplog.text
    await socket.ended()
    assert world.events == []


@pytest.mark.parametrize("meta", [["no", "dict"], {1: "int key"}, {"set": {1}}], ids=["list", "int", "set"])
async def test_a_meta_that_can_not_be_stored_refuses(world: World, meta: Any) -> None:
    socket = await open_with(world, OpenConsumer, meta=meta)
    assert await socket.close_code() == 1011


async def test_what_is_no_connect_is_no_socket(world: World) -> None:
    socket = Socket(OpenConsumer.as_asgi(), websocket_scope("lobby"))
    app = OpenConsumer.as_asgi()
    socket._task = asyncio.create_task(app(socket.scope, socket._inbox.get, socket._send))
    socket.disconnect()
    assert await socket.failure() is None
    assert not socket.accepted


async def test_what_a_client_sends_during_the_handshake_is_not_lost(world: World) -> None:
    gate = asyncio.Event()

    class Slow(OpenConsumer):
        async def authorize(self) -> bool:
            await gate.wait()
            return True

    socket = await world._open.enter_async_context(
        Socket(Slow.as_asgi(), websocket_scope("lobby", client_id="ann"))
    )
    connecting = asyncio.create_task(socket.connect())
    await turns()
    socket.send_nowait("early")
    await turns()
    gate.set()
    await connecting
    await world.heard(("joined", "ann"), ("message", "ann", "early"))


# What it hands on


async def test_joined_messages_left_in_this_order(world: World) -> None:
    ann = await open_with(world, OpenConsumer, client_id="ann", meta={"age": 5})
    for data in ("1", b"2", "", "drei 🦊"):
        ann.send_nowait(data)
    ann.disconnect(1001)
    await ann.ended()
    await world.heard(
        ("joined", "ann"),
        ("message", "ann", "1"),
        ("message", "ann", b"2"),
        ("message", "ann", ""),
        ("message", "ann", "drei 🦊"),
        ("left", "ann", "close"),
    )
    assert all(event.meta == {"age": 5} for event in world.events)
    assert left_of(world).code == 1001
    ids = [event.id for event in world.events]
    assert ids == sorted(set(ids))


async def test_a_close_without_a_code(world: World) -> None:
    ann = await world.join("ann")
    ann._gone = True
    ann._inbox.put_nowait({"type": "websocket.disconnect"})
    await ann.ended()
    await world.settled()
    assert (left_of(world).reason, left_of(world).code) == ("close", 1005)


async def test_answers_reach_the_client(world: World) -> None:
    async def answer(event: Event) -> None:
        if isinstance(event, Message):
            await hub_send(event.client_id, {"you": event.data}, hub=event.hub)
            await hub_broadcast(event.hub, {"all": event.data})

    world.desk.handler = answer
    ann, bob = await world.join("ann"), await world.join("bob")
    ann.send_nowait("hi")
    assert await ann.receive_all(2) == ['{"you":"hi"}', '{"all":"hi"}']
    assert await bob.receive() == '{"all":"hi"}'


async def test_it_may_answer_by_itself(world: World) -> None:
    ann = await world.join("ann", consumer=Echo)
    ann.send_nowait("echo")
    assert await ann.receive() == '{"echo":"echo"}'
    assert Echo.made[0].answers == [True]


async def test_after_its_close_nothing_is_sent_and_nothing_raises(world: World) -> None:
    ann = await world.join("ann", consumer=Echo)
    ann.send_nowait("close")
    assert await ann.close_code() == 4001
    await ann.ended()
    await world.settled()
    assert Echo.made[0].answers == [True, False, False]
    assert (left_of(world).reason, left_of(world).code) == ("close", 4001)


@pytest.mark.parametrize(
    ("limit", "data", "fits"),
    [
        (10, "x" * 10, True),
        (10, "x" * 11, False),
        (10, "é" * 5, True),
        (10, "é" * 5 + "x", False),
        (12, "🦊" * 3, True),
        (11, "🦊" * 3, False),
        (10, b"x" * 10, True),
        (10, b"x" * 11, False),
        (10, "é", True),
    ],
    ids=["10", "11", "5×2", "5×2+1", "3×4", "3×4 in 11", "10 bytes", "11 bytes", "short"],
)
async def test_a_message_longer_than_the_limit_closes_with_1009(
    world: World, limit: int, data: str | bytes, fits: bool
) -> None:
    class Limited(OpenConsumer):
        max_message_bytes = limit

    ann, bob = await world.join("ann", consumer=Limited), await world.join("bob")
    ann.send_nowait(data)
    if fits:
        await until(lambda: ("message", "ann", data) in world.told())
        return
    assert await ann.close_code() == 1009
    await ann.ended()
    await world.settled()
    assert ("message", "ann", data) not in world.told()
    assert (left_of(world).reason, left_of(world).code) == ("close", 1009)
    bob.send_nowait("still here")
    await until(lambda: ("message", "bob", "still here") in world.told())


class Rated(OpenConsumer):
    rate = 50
    burst = 5


async def test_a_client_above_its_rate_is_held_back_then_closed_with_4429(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ann, bob = await world.join("ann", consumer=Rated), await world.join("bob", consumer=Rated)
    texts = [str(number) for number in range(30)]
    for text in texts:
        ann.send_nowait(text)
    began = time.monotonic()
    bob.send_nowait("as if nothing was")
    await until(lambda: ("message", "bob", "as if nothing was") in world.told())
    assert await ann.close_code() == 4429
    # Five at once, and five that waited for a fiftieth of a second each.
    assert time.monotonic() - began > 0.99 * 5 / 50
    await ann.ended()
    await world.settled()
    said = [tell[2] for tell in world.told() if tell[:2] == ("message", "ann")]
    assert said == texts[:10]
    assert (left_of(world).reason, left_of(world).code) == ("close", 4429)
    (warning,) = (record for record in caplog.records if record.levelno >= logging.WARNING)
    assert "ann in hub lobby is closed: it sends more than 50 messages a second" in warning.getMessage()
    bob.send_nowait("still here")
    await until(lambda: ("message", "bob", "still here") in world.told())


async def test_while_a_message_is_held_back_nothing_is_read(world: World) -> None:
    class Slow(OpenConsumer):
        rate = 0.5
        burst = 1

    ann = await world.join("ann", consumer=Slow)
    for text in ("at once", "waits", "is not read"):
        ann.send_nowait(text)
    await until(lambda: ("message", "ann", "at once") in world.told())
    await turns(50)
    assert ann._inbox.qsize() == 1
    ann.cancel()
    await ann.ended()


async def test_who_is_closed_while_it_is_held_back_is_looked_into_no_more(world: World) -> None:
    ann = await world.join("ann", consumer=Rated)
    ann.silent = True
    for number in range(6):
        ann.send_nowait(str(number))
    await until(lambda: ann._inbox.empty())
    await hub_send("ann", Close(4001))
    assert await ann.close_code() == 4001
    ann.disconnect(4001)
    await ann.ended()
    await world.settled()
    assert [tell[2] for tell in world.told() if tell[0] == "message"] == list("01234")


async def test_without_a_rate_nobody_is_held_back(world: World) -> None:
    class Unlimited(OpenConsumer):
        rate = None
        burst = 1

    ann = await world.join("ann", consumer=Unlimited)
    for number in range(200):
        ann.send_nowait(str(number))
    await world.heard(("joined", "ann"), *(("message", "ann", str(n)) for n in range(200)))


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("rate", 0, "must be above 0 and finite, or None for no limit; got 0"),
        ("rate", -1.0, "must be above 0"),
        ("rate", float("nan"), "got nan"),
        ("rate", float("inf"), "or None for no limit; got inf"),
        ("rate", "100", "is a number above 0, or None; got str: '100'"),
        ("rate", True, "is a number above 0, or None; got bool"),
        ("burst", 0, "must be above 0 and finite; got 0"),
        ("burst", 1.5, "is a whole number above 0; got float: 1.5"),
        ("burst", None, "is a whole number above 0; got NoneType"),
        ("max_message_bytes", -1, "must be above 0"),
        ("max_message_bytes", None, "is a whole number above 0; got NoneType"),
        ("grace", 1e300, "must be at most 2147483647; got 1e+300"),
        ("login_required", "no", "is True or False; got str: 'no'"),
        ("login_required", None, "is True or False; got NoneType"),
        ("ticket_required", 1, "is True or False; got int: 1"),
        ("max_queue_bytes", 0, "is a whole number above 0; got 0"),
        ("max_queue_messages", "many", "is a whole number above 0; got 'many'"),
        ("when_slow", "oldest", "is one of 'close', 'drop_oldest', 'latest'; got 'oldest'"),
    ],
)
def test_a_limit_that_can_be_none_is_refused_when_the_class_is_made(
    name: str, value: Any, complaint: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        type("Misspelt", (OpenConsumer,), {name: value})
    assert str(refused.value).startswith(f"Misspelt.{name} ")
    assert complaint in str(refused.value)


async def test_a_server_that_reads_on_while_nobody_takes_is_flooded_once(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What its client sent and nobody accepted is dropped; the server's queue is empty all the same."""
    monkeypatch.setattr(Wires, "stops_reading", lambda *_: False)
    settings.DJANGO_HUB = {"MAILBOX_LIMIT": 5, "BATCH": 2}
    gate = asyncio.Event()

    async def hold(event: Event) -> None:
        await gate.wait()

    world.desk.handler = hold
    ann, bob = await world.open_member("ann"), await world.open_member("bob")
    ann.silent = True
    for number in range(5):
        ann.send_nowait(str(number))
    bob.send_nowait("waits too")
    await until(lambda: ann._inbox.empty())
    for number in range(20_000):
        ann.send_nowait(f"too many {number}")
    assert await ann.close_code() == 1013
    assert ann.running
    await until(lambda: ann._inbox.empty())
    ann.send_nowait("late")
    await until(lambda: ann._inbox.empty())
    ann.disconnect(1013)
    gate.set()
    await ann.ended()
    await until(lambda: ("message", "bob", "waits too") in world.told())
    await world.settled()
    said = [tell[2] for tell in world.told() if tell[:2] == ("message", "ann")]
    # What the mailbox had room for, beside two events of who joined and one of bob's.
    assert said == ["0", "1"]
    assert (left_of(world).reason, left_of(world).code) == ("close", 1013)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "ann in hub lobby is closed: it sends more than is taken"
    ]


async def test_who_floods_such_a_server_before_it_is_a_member_is_closed_too(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Wires, "stops_reading", lambda *_: False)
    store = world.use_store(FaultyStore())
    store.fail["bans"] = [Unavailable("gone")] * 10_000
    ann = await world.open(OpenConsumer.as_asgi(), websocket_scope("lobby", client_id="ann"))
    for number in range(20_000):
        ann.send_nowait(f"too many {number}")
    assert await ann.close_code() == 1013
    ann.disconnect(1013)
    await ann.ended()
    assert not world.events
    assert "ann in hub lobby is closed: it sends more than is taken" in caplog.text


async def test_a_full_mailbox_stops_the_reading_and_loses_nothing(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"MAILBOX_LIMIT": 5, "BATCH": 2}
    gate = asyncio.Event()

    async def hold(event: Event) -> None:
        await gate.wait()

    world.desk.handler = hold
    ann = await world.open_member("ann")
    texts = [str(number) for number in range(30)]
    for text in texts:
        ann.send_nowait(text)
    await until(lambda: ann._inbox.qsize() == len(texts) - 5)
    await turns(50)
    assert ann._inbox.qsize() == len(texts) - 5
    gate.set()
    await world.heard(("joined", "ann"), *(("message", "ann", text) for text in texts))


async def test_a_handler_that_fails_costs_its_event_only(world: World) -> None:
    async def fail(event: Event) -> None:
        if isinstance(event, Message) and event.data == "bad":
            raise ValueError("asked to")

    world.desk.handler = fail
    ann = await world.join("ann")
    for text in ("1", "bad", "2"):
        ann.send_nowait(text)
    await world.heard(("joined", "ann"), ("message", "ann", "1"), ("message", "ann", "2"))
    # Kept when its batch is committed, which is not yet when the next one is heard of.
    (letter,) = await until(lambda: world.store.dead_letters("lobby"))
    assert letter.error == "ValueError: asked to"


# How it ends


async def test_a_consumer_that_fails_closes_with_1011_and_leaves(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ann, bob = await world.join("ann", consumer=Echo), await world.join("bob")
    ann.send_nowait("fail")
    assert await ann.close_code() == 1011
    await ann.ended()
    await world.settled()
    left = left_of(world)
    assert (left.reason, left.code, left.error) == ("read", 1011, "ValueError: asked to")
    assert "failed on a message of ann in hub lobby" in caplog.text
    await hub_broadcast("lobby", "next")
    assert await bob.receive() == "next"


class Strict(OpenConsumer):
    """Takes no long note."""

    async def on_message(self, data: str | bytes) -> None:
        if len(data) > 5:
            raise Refused(4000, "a note is short")
        await super().on_message(data)


async def test_a_message_may_be_refused_with_a_code_of_its_own(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ann = await world.join("ann", consumer=Strict)
    ann.send_nowait("short")
    ann.send_nowait("a long note")
    with pytest.raises(Closed) as closed:
        await ann.receive()
    assert (closed.value.code, closed.value.reason) == (4000, "a note is short")
    await ann.ended()
    await world.settled()
    assert (left_of(world).reason, left_of(world).code) == ("close", 4000)
    assert "failed" not in caplog.text


@pytest.mark.parametrize("asked", ["bad", "bad close"])
async def test_a_message_it_can_not_send_is_its_own_failure(world: World, asked: str) -> None:
    ann = await world.join("ann", consumer=Echo)
    ann.send_nowait(asked)
    assert await ann.close_code() == 1011
    await ann.ended()
    await world.settled()
    assert left_of(world).error is not None
    assert left_of(world).error.startswith(InvalidMessage.__name__)


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, "close"), (4321, "close"), (1006, "read"), (1012, "shutdown")]
)
async def test_what_the_servers_code_says(world: World, code: int, reason: str) -> None:
    ann = await world.join("ann")
    ann.disconnect(code)
    await ann.ended()
    await world.settled()
    assert (left_of(world).reason, left_of(world).code) == (reason, code)


async def test_a_server_that_stops_while_it_takes_no_more_is_a_shutdown_too(world: World) -> None:
    ann = await world.join("ann")
    ann.broken = OSError("the transport is closing")
    await hub_broadcast("lobby", "not taken")
    ann.disconnect(1012)
    await ann.ended()
    await world.settled()
    assert (left_of(world).reason, left_of(world).code) == ("shutdown", 1012)


async def test_a_stopping_server_cancels_its_reader(world: World) -> None:
    ann, bob = await world.join("ann"), await world.join("bob")
    ann.cancel()
    await ann.ended()
    await world.settled()
    assert left_of(world).reason == "shutdown"
    await hub_broadcast("lobby", "next")
    assert await bob.receive() == "next"


async def test_all_cancelled_at_once_all_are_told_of(world: World) -> None:
    sockets = [await world.join(str(number)) for number in range(20)]
    for socket in sockets:
        socket.cancel()
    for socket in sockets:
        await socket.ended()
    assert sorted(tell for tell in world.told() if tell[0] == "left") == sorted(
        ("left", str(number), "shutdown") for number in range(20)
    )


async def test_cancelled_while_busy_after_the_client_closed_it_is_a_close(world: World) -> None:
    ann = await world.join("ann", consumer=Echo)
    ann.send_nowait("busy")
    await until(lambda: ann._inbox.empty())
    ann.send_nowait("too late")
    ann.disconnect(1001)
    ann.cancel()
    await ann.ended()
    await world.settled()
    assert (left_of(world).reason, left_of(world).code) == ("close", 1001)


async def test_cancelled_while_busy_and_the_client_is_there_it_is_a_shutdown(world: World) -> None:
    ann = await world.join("ann", consumer=Echo)
    ann.send_nowait("busy")
    await until(lambda: ann._inbox.empty())
    ann.send_nowait("too late")
    ann.cancel()
    await ann.ended()
    await world.settled()
    assert left_of(world).reason == "shutdown"


async def test_cancelled_while_it_joins_it_leaves_no_member(world: World) -> None:
    socket = Socket(OpenConsumer.as_asgi(), websocket_scope("lobby", client_id="ann"))
    await socket.connect()
    socket.cancel()
    await socket.ended()
    assert await socket.leave() is None
    await world.settled()
    assert await hub_member("lobby", "ann") is None
    assert [each[0] for each in world.told()] in ([], ["joined", "left"])


# Closed by us, and no answer


async def _destroyed(socket: Socket) -> None:
    await hub_destroy("lobby")


async def _said(socket: Socket) -> None:
    socket.send_nowait("close")


async def _sent(socket: Socket) -> None:
    await hub_send("ann", Close(4001))


class OneAtATime(Socket):
    """Of a server that holds a close back as long as its application is receiving."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lock = asyncio.Lock()

    async def _receive(self) -> dict[str, Any]:
        async with self.lock:
            return await super()._receive()

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            async with self.lock:
                await super()._send(message)
        else:
            await super()._send(message)


@pytest.mark.parametrize("close", [_destroyed, _said, _sent])
@pytest.mark.parametrize("kind", [Socket, OneAtATime])
async def test_whose_close_nobody_answers_is_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: type[Socket], close: Any
) -> None:
    monkeypatch.setattr(connections, "_LAST_WORDS", 0.05)
    ann = await world.open(Echo.as_asgi(), websocket_scope("lobby", client_id="ann"), kind)
    ann.silent = True
    await until(lambda: world.told() == [("joined", "ann")])
    await close(ann)
    await ann.close_code()
    await ann.ended()
    await world.settled()
    (left,) = [event for event in world.events if isinstance(event, Left)]
    assert (left.reason, left.code, left.error) == ("read", 1006, "the client did not answer its close")


async def test_its_message_is_handled_to_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_LAST_WORDS", 0.01)
    ann = await world.join("ann", consumer=Echo)
    ann.silent = True
    ann.send_nowait("busy")
    await until(lambda: ann._inbox.empty())
    await hub_destroy("lobby")
    assert await ann.close_code() == 4410
    await asyncio.sleep(0.05)  # past the last words, more than once
    assert ann.running
    Echo.made[-1].gate.set()
    await ann.ended()


# Replaced


async def test_the_newer_connection_stays_and_the_older_is_closed_with_4409(world: World) -> None:
    old = await world.join("ann")
    old.silent = True
    new = await world.join("ann")
    assert await old.close_code() == 4409
    old.send_nowait("from a socket that is closed")
    await until(lambda: old._inbox.empty())
    old.disconnect(4409)
    await old.ended()
    new.send_nowait("hi")
    await world.heard(
        ("joined", "ann"), ("left", "ann", "replaced"), ("joined", "ann"), ("message", "ann", "hi")
    )
    await hub_send("ann", "for the new one")
    assert await new.receive() == "for the new one"
    assert old.received() == []


async def test_messages_on_their_way_when_it_is_replaced_are_refused(world: World) -> None:
    old = await world.join("ann")
    old.silent = True
    new = await world.open_member("ann")
    for number in range(10):
        old.send_nowait(f"old {number}")
    await old.close_code()
    await until(lambda: old._inbox.empty())
    await world.settled()
    left = world.told().index(("left", "ann", "replaced"))
    assert not [tell for tell in world.told()[left:] if tell[0] == "message"]
    assert new.running


async def test_a_client_that_comes_again_and_again(world: World) -> None:
    for _ in range(10):
        await world.open_member("ann")
    await world.settled()
    assert [tell[0] for tell in world.told()] == ["joined", *(["left", "joined"] * 9)]


# Slow and broken


class Small(OpenConsumer):
    max_queue_messages = 5


async def test_a_client_that_does_not_take_its_messages_is_closed_and_others_do_not_notice(
    world: World,
) -> None:
    ann, bob = await world.join("ann", consumer=Small), await world.join("bob")
    ann.taking.clear()
    texts = [str(number) for number in range(20)]
    for text in texts:
        await hub_broadcast("lobby", text)
    assert await bob.receive_all(20) == texts
    await until(lambda: ("left", "ann", "slow") in world.told())
    left = left_of(world)
    assert left.code == 4008
    assert list(left.undelivered) == texts  # all that was put into its queue at once
    ann.taking.set()
    assert await ann.close_code() == 4008
    await ann.ended()
    assert [tell for tell in world.told() if tell[0] == "left"] == [("left", "ann", "slow")]


async def test_a_slow_client_that_does_not_even_take_its_close_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.DJANGO_HUB = {"SHUTDOWN_GRACE": 0.05}
    monkeypatch.setattr(connections, "_LAST_WORDS", 0.01)
    ann = await world.join("ann", consumer=Small)
    ann.taking.clear()
    for number in range(20):
        await hub_broadcast("lobby", str(number))
    await ann.ended()
    assert [tell for tell in world.told() if tell[0] == "left"] == [("left", "ann", "slow")]


async def test_a_client_slow_by_bytes(world: World) -> None:
    class Narrow(OpenConsumer):
        max_queue_bytes = 1000

    ann = await world.join("ann", consumer=Narrow)
    ann.taking.clear()
    for _ in range(3):
        await hub_broadcast("lobby", "x" * 400)
    await until(lambda: ("left", "ann", "slow") in world.told())
    assert left_of(world).undelivered == ("x" * 400,) * 3


async def test_a_client_that_is_late_but_not_slow_misses_nothing(world: World) -> None:
    ann = await world.join("ann", consumer=Small)
    ann.taking.clear()
    for number in range(5):
        await hub_broadcast("lobby", str(number))
    await world.relay.idle()
    ann.taking.set()
    assert await ann.receive_all(5) == list("01234")


async def test_a_slow_client_does_not_hold_up_its_own_reading(world: World) -> None:
    ann = await world.join("ann")
    ann.taking.clear()
    await hub_broadcast("lobby", "waits")
    ann.send_nowait("hi")
    await world.heard(("joined", "ann"), ("message", "ann", "hi"))


async def test_a_too_long_message_of_a_slow_client_still_closes_with_1009(world: World) -> None:
    class Limited(OpenConsumer):
        max_message_bytes = 5

    ann = await world.join("ann", consumer=Limited)
    ann.taking.clear()
    await hub_broadcast("lobby", "waits")
    await world.relay.idle()
    ann.send_nowait("too long")
    await until(lambda: ("left", "ann", "close") in world.told())
    ann.taking.set()
    assert await ann.close_code() == 1009
    assert left_of(world).undelivered == ("waits",)


async def test_a_socket_that_can_not_be_written_to_leaves_with_write(world: World) -> None:
    ann, bob = await world.join("ann"), await world.join("bob")
    ann.broken = ConnectionResetError("peer reset")
    await hub_broadcast("lobby", "1")
    await hub_broadcast("lobby", "2")
    assert await bob.receive_all(2) == ["1", "2"]
    await until(lambda: ("left", "ann", "write") in world.told())
    left = left_of(world)
    assert left.error == "ConnectionResetError: peer reset"
    assert left.undelivered == ("1", "2")
    ann.disconnect(1006)
    await ann.ended()
    await world.settled()
    assert left_of(world) is left


async def test_what_waited_when_the_client_left_comes_back(world: World) -> None:
    ann = await world.join("ann")
    ann.taking.clear()
    await hub_broadcast("lobby", "text")
    await hub_send("ann", b"bytes")
    await hub_send("ann", Close(4001))
    await world.relay.idle()
    ann.disconnect(1006)
    await until(lambda: ("left", "ann", "read") in world.told())
    assert left_of(world).undelivered == ("text", b"bytes")


# A process declared dead


async def test_a_client_declared_lost_is_joined_again(world: World) -> None:
    ann = await world.join("ann")
    await world.heard(("joined", "ann"))
    await declare_dead(world)
    await world.heard(("joined", "ann"), ("left", "ann", "lost"))
    ann.send_nowait("still here")
    await world.heard(
        ("joined", "ann"), ("left", "ann", "lost"), ("joined", "ann"), ("message", "ann", "still here")
    )
    await hub_broadcast("lobby", "hello")
    assert await ann.receive() == "hello"
    ann.disconnect()
    await ann.ended()
    await world.settled()
    assert world.told()[-1] == ("left", "ann", "close")


async def declare_dead(world: World) -> None:
    """As if this process had not been heard of for too long, and another one had noticed."""
    store = world.store
    clock, store._clock = store._clock, lambda: clock() + 2 * store.limits.process_lease
    wakes = await store.reap()
    store._clock = clock
    world.relay.bells.ring(wakes)
    await world.settled()


# The whole


async def test_a_crowd_in_which_everybody_hears_everybody(world: World) -> None:
    async def repeat(event: Event) -> None:
        if isinstance(event, Message):
            await hub_broadcast(event.hub, f"{event.client_id}: {event.data}")

    world.desk.handler = repeat
    crowd = [await world.join(f"client {number}") for number in range(10)]
    for number in range(20):
        for client in crowd:
            client.send_nowait(str(number))
    heard = [await client.receive_all(200) for client in crowd]
    assert all(each == heard[0] for each in heard)
    for number in range(10):
        mine = [text for text in heard[0] if str(text).startswith(f"client {number}: ")]
        assert mine == [f"client {number}: {n}" for n in range(20)]


async def test_hubs_do_not_wait_for_each_other(world: World) -> None:
    gate = asyncio.Event()

    async def hold(event: Event) -> None:
        if event.hub == "slow":
            await gate.wait()

    world.desk.handler = hold
    await world.open_member("ann", hub="slow")
    await world.open_member("bob", hub="quick")
    await world.heard(("joined", "bob"), hub="quick")
    assert world.told("slow") == []
    gate.set()


async def test_the_worker_runs_inside_and_ends_with_the_last_client(world: World) -> None:
    ann = await world.join("ann")
    assert world.desk.started == 1
    await ann.leave()
    await world.relay.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await world.join("bob")
    assert world.desk.started == 2


async def test_a_healthy_life_logs_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    ann = await world.join("ann")
    ann.send_nowait("hi")
    await world.heard(("joined", "ann"), ("message", "ann", "hi"))
    await ann.leave()
    await world.settled()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_wrong_setting_is_said_once_and_clearly(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    consumers._tell_once.cache_clear()
    with override_settings(DJANGO_HUB={"BAET": 1.0}):
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured, match="unknown keys: BAET"):
                await OpenConsumer()(websocket_scope("lobby"), receive_connect, send_nothing)
    (record,) = [record for record in caplog.records if record.levelname == "CRITICAL"]
    assert "No client can join: DJANGO_HUB has unknown keys: BAET." in record.getMessage()
    assert "manage.py check" in record.getMessage()


async def receive_connect() -> dict[str, Any]:
    return {"type": "websocket.connect"}


async def send_nothing(message: dict[str, Any]) -> None:
    raise AssertionError(f"nothing is to be sent; got {message}")
