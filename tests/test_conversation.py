"""The talk with a client of ``hub.v1``, in one process; `tests/live/test_talks.py` has real servers."""

import asyncio
import contextlib
import contextvars
import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from channels.exceptions import DenyConnection

from django_hub import conversation, workers
from django_hub.api import hub_broadcast, hub_member, hub_send, hub_update
from django_hub.consumers import HubConsumer
from django_hub.entries import Entry, Kind, to_item
from django_hub.events import Event, Joined, Left, Lost, Message, Resumed, Updated
from django_hub.exceptions import InvalidMessage, Refused, Unavailable
from django_hub.messages import Close, Json
from django_hub.stores.ops import Publication
from tests.apps import EVENTS, World
from tests.apps import world as world
from tests.live.servers import SCALE
from tests.sockets import Closed, Socket, until, websocket_scope


class Room(HubConsumer):
    events = EVENTS
    grace = 1.0 * SCALE
    presence = True

    async def authorize(self) -> bool:
        return True


class Brief(Room):
    grace = 0.05
    presence = False


class Moody(Room):
    """Posts each message twice, or not at all; and speaks past the hub."""

    presence = False

    async def on_message(self, data: str | bytes) -> None:
        if data == "fail":
            raise ValueError("asked to")
        if data == "direct":
            await self.send({"to": "you alone"})
        elif data == "close":
            await self.close(4001, "asked to")
        else:
            await self.post(data)
            await self.post(data)


def kinds(world: World) -> list[type[Event]]:
    return [type(event) for event in world.events]


class Talk:
    """One client, over as many sockets as it takes."""

    def __init__(self, world: World, consumer: type[HubConsumer] = Room) -> None:
        self.world = world
        self.consumer = consumer
        self.hello: dict[str, Any] = {}
        self.socket: Socket

    async def come(self, **fields: Any) -> dict[str, Any]:
        scope = websocket_scope("lobby", subprotocols=["hub.v1"])
        self.socket = await self.world.open(self.consumer.as_asgi(), scope)
        self.say(type="connect", **fields)
        self.hello = await self.next("hello")
        return self.hello

    async def back(self, **fields: Any) -> dict[str, Any]:
        known = {name: self.hello[name] for name in ("token", "epoch", "seq", "direct")}
        return await self.come(**known | fields)

    def say(self, **fields: Any) -> None:
        self.socket.send_nowait(json.dumps(fields))

    async def next(self, *types: str) -> dict[str, Any]:
        while True:
            frame = {"type": "message", **json.loads(await self.socket.receive())}
            if not types or frame["type"] in types:
                return frame

    async def drop(self) -> None:
        self.socket.disconnect(1006)
        await self.socket.ended()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(conversation, "_CONNECT_WITHIN", 0.05)
    return


async def test_hello_says_where_a_newcomer_stands(world: World) -> None:
    await hub_broadcast("lobby", "before")
    hello = await Talk(world).come()
    assert (hello["recovered"], hello["resumed"], hello["direct"]) == ("new", False, 0)
    assert (hello["hub"], hello["grace"], hello["heartbeat"]) == ("lobby", Room.grace, 25.0)
    assert hello["max_bytes"] == Room.max_message_bytes
    assert hello["presence"] == [{"client": hello["client"], "user": None, "meta": {}, "state": "online"}]


async def test_data_comes_as_it_was_sent(world: World) -> None:
    talk = Talk(world)
    hello = await talk.come()
    for message in ("text", Json([1]), {"a": None}, Json("json")):
        await hub_broadcast("lobby", message)
    await hub_send(hello["client"], "for you", hub="lobby")
    frames = [await talk.next("message") for _ in range(5)]
    assert [frame["data"] for frame in frames] == ["text", [1], {"a": None}, "json", "for you"]
    numbers = [frame["seq"] for frame in frames[:4]]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
    assert frames[4]["direct"] == 1


class Known(Room):
    """Decides by the id of its client, which is not the project's own."""

    blocked: ClassVar[set[str]] = set()

    async def authorize(self) -> bool:
        if "denied" in self.blocked and self.client_id in self.blocked:
            raise DenyConnection
        return self.client_id not in self.blocked

    async def get_meta(self) -> dict[str, Any]:
        return {"guest": self.client_id[:4]}


@pytest.mark.parametrize("how", ["no", "denied"])
async def test_who_is_back_is_asked_about_as_who_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(Known, "blocked", set())
    talk = Talk(world, Known)
    name = (await talk.come())["client"]
    await talk.drop()
    hello = await talk.back()
    assert hello["resumed"]
    assert [each["meta"] for each in hello["presence"]] == [{"guest": name[:4]}]
    await talk.drop()
    Known.blocked = {name, how}
    talk.socket = await world.open(Known.as_asgi(), websocket_scope("lobby", subprotocols=["hub.v1"]))
    talk.say(type="connect", token=hello["token"])
    assert await talk.next() == {
        "type": "closing",
        "code": 4403,
        "reason": "not allowed",
        "reconnect": False,
    }
    assert await talk.socket.close_code() == 4403


async def test_who_drops_and_is_back_is_the_same_member(world: World) -> None:
    talk = Talk(world)
    first = await talk.come()
    await talk.drop()
    await until(lambda: Lost in kinds(world))
    member = await hub_member("lobby", first["client"])
    assert member is not None
    assert member.state == "lost"
    await hub_broadcast("lobby", "missed")
    assert await hub_send(first["client"], "for you", hub="lobby")
    again = await talk.back()
    assert (again["client"], again["recovered"], again["resumed"]) == (first["client"], "yes", True)
    assert (await talk.next("message"))["data"] == "missed"
    assert (await talk.next("message"))["data"] == "for you"
    await until(lambda: Resumed in kinds(world))
    assert kinds(world) == [Joined, Lost, Resumed]


async def test_a_second_connection_takes_the_place_of_the_first(world: World) -> None:
    talk = Talk(world)
    await talk.come()
    old = talk.socket
    assert (await talk.back())["resumed"]
    assert await old.close_code() == 1012
    await old.leave()
    await until(lambda: Resumed in kinds(world))
    await hub_broadcast("lobby", "still here")
    assert (await talk.next("message"))["data"] == "still here"
    assert Left not in kinds(world)


class Given(Room):
    """The project says who it is."""

    async def get_client_id(self) -> str:
        return "ann"


NONCE = "a secret that only ann knows"


async def test_by_its_nonce_a_client_without_a_token_is_known(world: World) -> None:
    """As after a connection that dropped before its hello, and was let in later than the next."""
    talk, late = Talk(world, Given), Talk(world, Given)
    await talk.come(nonce=NONCE)
    assert (await late.come(nonce=NONCE))["resumed"]
    assert await talk.socket.close_code() == 1012
    await talk.socket.leave()
    await late.drop()
    assert (await talk.back())["resumed"]
    await world.settled()
    assert Left not in kinds(world)
    assert kinds(world).count(Joined) == 1


@pytest.mark.parametrize("other", [{}, {"nonce": "another one, not ann's own"}])
async def test_who_has_not_its_nonce_is_another_client(world: World, other: dict[str, str]) -> None:
    talk, stranger = Talk(world, Given), Talk(world, Given)
    await talk.come(nonce=NONCE)
    assert not (await stranger.come(**other))["resumed"]
    assert (await talk.next("closing"))["code"] == 4409


@pytest.mark.parametrize("wrong", [5, "short", "x" * 201])
async def test_a_nonce_that_is_none_is_refused(world: World, wrong: Any) -> None:
    socket = await world.open(Room.as_asgi(), websocket_scope("lobby", subprotocols=["hub.v1"]))
    socket.send_nowait(json.dumps({"type": "connect", "nonce": wrong}))
    assert await socket.close_code() == 4400


async def test_who_stays_away_is_gone_when_its_grace_is_over(world: World) -> None:
    talk = Talk(world, Brief)
    await talk.come()
    await talk.drop()
    await until(lambda: Left in kinds(world))
    assert kinds(world) == [Joined, Lost, Left]
    left = world.events[-1]
    assert isinstance(left, Left)
    assert (left.reason, left.code) == ("read", 1006)


@pytest.mark.parametrize("code", [1000, 1001])
async def test_who_is_done_leaves_at_once(world: World, code: int) -> None:
    talk = Talk(world)
    await talk.come()
    talk.socket.disconnect(code)
    await talk.socket.ended()
    await until(lambda: Left in kinds(world))
    assert Lost not in kinds(world)


async def test_what_is_not_a_member_any_more_is_said_to_be_new(world: World) -> None:
    talk = Talk(world, Brief)
    await talk.come()
    await talk.drop()
    await until(lambda: Left in kinds(world))
    await hub_broadcast("lobby", "missed")
    again = await talk.back()
    assert (again["recovered"], again["resumed"]) == ("yes", False)
    assert (await talk.next("message"))["data"] == "missed"


class Direct(Room):
    """Takes what is said at once, but for two words."""

    max_message_bytes = 100

    async def on_message(self, data: str | bytes) -> None:
        if data == "go":
            raise Refused(4321, "as you wish", reconnect=False)
        if data == "fail":
            raise ValueError("a bug")


async def test_one_ack_stands_for_all_that_came_together(world: World) -> None:
    talk = Talk(world, Direct)
    await talk.come()
    for number in range(1, 17):
        talk.say(type="message", id=number, data="hi")
    acks = [(await talk.next("ack"))["id"]]
    while acks[-1] < 16:
        acks.append((await talk.next("ack"))["id"])
    assert len(acks) < 4
    talk.say(type="message", id=17, data="hi")
    assert (await talk.next("ack"))["id"] == 17


@pytest.mark.parametrize(
    ("last", "code"),
    [("go", 4321), ("fail", 1011), ("x" * 200, 1009)],
    ids=["refused", "failed", "too long"],
)
async def test_what_was_taken_is_acknowledged_before_a_close(world: World, last: str, code: int) -> None:
    """Else its client would hold for lost what is not."""
    talk = Talk(world, Direct)
    await talk.come()
    talk.say(type="message", id=1, data="hi")
    talk.say(type="message", id=2, data=last)
    frames = [await talk.next("ack", "closing"), await talk.next("ack", "closing")]
    assert [(frame.get("id"), frame.get("code")) for frame in frames] == [(1, None), (None, code)]


async def test_messages_are_acknowledged_and_taken_once(world: World) -> None:
    talk = Talk(world)
    await talk.come()
    talk.say(type="message", id=1, data={"a": 1})
    talk.say(type="request", id=2, data="text")
    assert (await talk.next("ack"))["id"] == 1
    assert (await talk.next("ack"))["id"] == 2
    await talk.drop()
    await talk.back()
    talk.say(type="request", id=2, data="text")
    talk.say(type="message", id=3, data=None)
    assert (await talk.next("ack"))["id"] == 2
    assert (await talk.next("ack"))["id"] == 3
    await until(lambda: kinds(world).count(Message) == 3)
    said = [event for event in world.events if isinstance(event, Message)]
    assert [event.data for event in said] == ['{"a":1}', "text", "null"]
    assert [event.request for event in said] == [None, 2, None]
    assert await said[1].reply({"yes": True})
    reply = await talk.next("reply")
    assert (reply["id"], reply["data"], reply["direct"]) == (2, {"yes": True}, 1)
    assert await said[1].reply(b"bytes") is True
    assert await said[0].reply("nobody asked") is False
    talk.socket.disconnect(1000)
    await until(lambda: Left in kinds(world))
    assert await said[1].reply("nobody is there") is False


async def test_what_one_message_posts_has_numbers_of_its_own(world: World) -> None:
    talk = Talk(world, Moody)
    await talk.come()
    for _ in range(2):
        talk.say(type="message", id=1, data="twice")
        await talk.next("ack")
        await talk.drop()
        await talk.back()
    await until(lambda: kinds(world).count(Resumed) == 2)
    assert kinds(world).count(Message) == 2
    talk.say(type="message", id=2, data="direct")
    assert await talk.next("message") == {"type": "message", "data": {"to": "you alone"}}


class Spontaneous(Room):
    """Posts by itself, beside what its client sends."""

    presence = False
    all: ClassVar[list["Spontaneous"]] = []

    async def on_message(self, data: str | bytes) -> None:
        self.all.append(self)
        if data == "parts":
            await self.post("part 1")
            # Not of this message, and not counted with it.
            await asyncio.create_task(self.post("own"), context=contextvars.Context())
            await asyncio.gather(self.post("part 2"))
        elif data == "many":
            for number in range(1026):
                await self.post(f"{number}")
        elif data != "none":
            await self.post(data)


def texts(world: World) -> list[str | bytes]:
    return [event.data for event in world.events if isinstance(event, Message)]


@pytest.fixture
def spontaneous() -> Iterator[None]:
    yield
    Spontaneous.all.clear()


@pytest.mark.usefixtures("spontaneous")
async def test_what_is_posted_past_a_message_is_never_taken_for_a_repeat(world: World) -> None:
    talk = Talk(world, Spontaneous)
    await talk.come()
    talk.say(type="request", id=5, data="said")
    await talk.next("ack")
    assert await Spontaneous.all[-1].post("before the drop")
    await talk.drop()
    await talk.back()
    talk.say(type="message", id=5, data="none")
    await talk.next("ack")
    for number in range(2):
        assert await Spontaneous.all[-1].post(f"after {number}")
    talk.say(type="message", id=6, data="next")
    await talk.next("ack")
    expected = ["said", "before the drop", "after 0", "after 1", "next"]
    await until(lambda: len(texts(world)) == len(expected))
    assert texts(world) == expected
    # Nor does it belong to the request before it.
    assert [event.request for event in world.events if isinstance(event, Message)] == [5, *[None] * 4]


@pytest.mark.usefixtures("spontaneous")
async def test_a_message_sent_again_posts_only_what_it_had_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = Talk(world, Spontaneous)
    await talk.come()
    post = Spontaneous.post
    go_on = asyncio.Event()

    async def cut(consumer: Spontaneous, data: str | bytes) -> bool:
        if data == "part 2":
            await go_on.wait()
        return await post(consumer, data)

    monkeypatch.setattr(Spontaneous, "post", cut)
    talk.say(type="message", id=1, data="parts")
    await until(lambda: texts(world) == ["part 1", "own"])
    monkeypatch.setattr(Spontaneous, "post", post)
    await talk.back()
    talk.say(type="message", id=1, data="parts")
    await talk.next("ack")
    go_on.set()
    await until(lambda: "part 2" in texts(world))
    assert texts(world) == ["part 1", "own", "own", "part 2"]


@pytest.mark.usefixtures("spontaneous")
async def test_a_message_that_posts_more_than_has_numbers_loses_none(world: World) -> None:
    talk = Talk(world, Spontaneous)
    await talk.come()
    talk.say(type="message", id=1, data="many")
    await talk.next("ack")
    await talk.drop()
    await talk.back()
    talk.say(type="message", id=2, data="next")
    await talk.next("ack")
    await until(lambda: "next" in texts(world))
    assert texts(world) == [*map(str, range(1026)), "next"]


@pytest.mark.parametrize(("word", "code", "returns"), [("close", 4001, False), ("fail", 1011, True)])
async def test_a_close_is_told_before(world: World, word: str, code: int, returns: bool) -> None:
    talk = Talk(world, Moody)
    await talk.come()
    talk.say(type="message", id=1, data=word)
    with contextlib.suppress(Closed):
        closing = await talk.next("closing")
        assert (closing["code"], closing["reconnect"]) == (code, returns)
    assert await talk.socket.close_code() == code


async def test_who_asks_is_told_that_the_handler_failed_also_after_a_drop(world: World) -> None:
    gate = asyncio.Event()

    async def fail(event: Event) -> None:
        if isinstance(event, Message):
            if event.data == "later":
                await gate.wait()
            raise ValueError("a secret of the server's")

    world.desk.handler = fail
    talk = Talk(world)
    await talk.come()
    talk.say(type="message", id=1, data="nobody asks")
    talk.say(type="request", id=2, data="now")
    failed = await talk.next("refused")
    expected = {"type": "refused", "code": 1011, "reason": "the handler failed"}
    assert failed == {**expected, "id": 2, "direct": 1}
    talk.say(type="request", id=3, data="later")
    while (await talk.next("ack"))["id"] != 3:
        pass
    await talk.drop()
    await until(lambda: Lost in kinds(world) or gate.set())
    await talk.back(direct=1)
    assert await talk.next("refused") == {**expected, "id": 3, "direct": 2}
    assert len(await until(lambda: dead_letters(world, 3))) == 3


async def dead_letters(world: World, count: int) -> list[Any]:
    letters = await world.store.dead_letters("lobby")
    return letters if len(letters) >= count else []


async def test_a_failure_that_can_not_be_told_is_logged(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(event: Event) -> None:
        if isinstance(event, Message):
            raise ValueError("asked to")

    async def away(event: Message) -> bool:
        raise Unavailable("no store now")

    monkeypatch.setattr(workers, "send_failure", away)
    world.desk.handler = fail
    talk = Talk(world)
    hello = await talk.come()
    talk.say(type="request", id=1, data="x")
    (letter,) = await until(lambda: dead_letters(world, 1))
    assert letter.error == "ValueError: asked to"
    assert (
        f"{hello['client']} in hub lobby is not told that its request failed: no store now" in caplog.text
    )


@pytest.mark.parametrize("reconnect", [True, False, None])
async def test_a_refusal_of_a_message_says_whether_to_come_back(
    world: World, reconnect: bool | None
) -> None:
    class Strict(Room):
        async def on_message(self, data: str | bytes) -> None:
            raise Refused(4000, f"no {data!r}", reconnect=reconnect)

    talk = Talk(world, Strict)
    await talk.come()
    talk.say(type="message", id=1, data="note")
    closing = await talk.next("closing", "ack")
    assert (closing["code"], closing["reason"], closing["reconnect"]) == (
        4000,
        "no 'note'",
        bool(reconnect),
    )
    assert await talk.socket.close_code() == 4000


async def test_a_hub_that_closes_all_tells_them(world: World) -> None:
    talk = Talk(world)
    await talk.come()
    await hub_broadcast("lobby", Close(4001, "for all"))
    closing = await talk.next("closing")
    assert (closing["code"], closing["reason"], closing["reconnect"]) == (4001, "for all", False)
    assert await talk.socket.close_code() == 4001


async def test_presence_tells_each_change(world: World) -> None:
    ann, bob = Talk(world), Talk(world)
    await ann.come()
    name = (await bob.come())["client"]
    assert await hub_update(name, {"mood": "glad"}, "lobby")
    await bob.drop()
    changes = []
    while len(changes) < 3:
        frame = await ann.next("presence")
        if frame["member"]["client"] == name:
            changes.append((frame["event"], frame["member"]["state"], frame["member"]["meta"]))
    assert changes == [
        ("joined", "online", {}),
        ("updated", "online", {"mood": "glad"}),
        ("lost", "lost", {"mood": "glad"}),
    ]
    assert Updated in kinds(world)
    assert not await hub_update("nobody", {}, "lobby")
    with pytest.raises(InvalidMessage, match="at most 65,536 bytes"):
        await hub_update(name, {"picture": "a" * 65536}, "lobby")


async def test_a_client_that_says_nothing_is_lost(world: World) -> None:
    class Hasty(Room):
        heartbeat = 0.02

    talk = Talk(world, Hasty)
    await talk.come()
    assert await talk.socket.close_code() == 4408
    await until(lambda: Lost in kinds(world))


async def test_who_shows_that_it_is_there_stays(world: World) -> None:
    class Lively(Room):
        heartbeat = 0.2

    talk = Talk(world, Lively)
    await talk.come()
    ends = asyncio.get_running_loop().time() + 0.8
    while asyncio.get_running_loop().time() < ends:
        talk.say(type="ping")
        await talk.next("pong")
        await asyncio.sleep(0.05)


async def test_a_client_must_say_what_it_comes_with(world: World, short: None) -> None:
    scope = websocket_scope("lobby", subprotocols=["hub.v1"])
    socket = await world.open(Room.as_asgi(), scope)
    assert await socket.close_code() == 4408


async def test_one_that_goes_before_it_connects_was_never_there(world: World) -> None:
    scope = websocket_scope("lobby", subprotocols=["hub.v1"])
    socket = await world.open(Room.as_asgi(), scope)
    socket.disconnect()
    await socket.ended()
    assert world.events == []


async def test_a_welcome_waits_for_the_store(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sent, tries = world.store.sent, []

    async def away(hub: str, client_id: str, after: int) -> Any:
        if client_id:
            tries.append(client_id)
            if len(tries) < 3:
                raise Unavailable("away")
        return await sent(hub, client_id, after)

    monkeypatch.setattr(world.store, "sent", away)
    assert (await Talk(world).come())["recovered"] == "new"
    assert len(tries) == 3


async def test_a_greeting_that_comes_before_hello_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = world.store.sent

    async def greeted(hub: str, client_id: str, after: int) -> Any:
        if client_id:
            await hub_send(client_id, "welcome", hub="lobby")
        return await sent(hub, client_id, after)

    monkeypatch.setattr(world.store, "sent", greeted)
    talk = Talk(world)
    hello = await talk.come()
    message = await talk.next("message")
    assert (message["data"], message["direct"]) == ("welcome", hello["direct"] + 1)


async def test_a_welcome_that_fails_tells_nothing_of_what_came_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client would take that number for all it had missed, and never ask for it."""
    talk = Talk(world)
    await talk.come()
    await talk.drop()
    await hub_broadcast("lobby", "missed")
    sent = world.store.sent

    async def fails(*_: object) -> Any:
        await hub_broadcast("lobby", "live")
        raise KeyError("bug")

    monkeypatch.setattr(world.store, "sent", fails)
    scope = websocket_scope("lobby", subprotocols=["hub.v1"])
    socket = await world.open(Room.as_asgi(), scope)
    known = {name: talk.hello[name] for name in ("token", "epoch", "seq", "direct")}
    socket.send_nowait(json.dumps({"type": "connect", **known}))
    with pytest.raises(Closed) as closed:
        await socket.receive()
    assert closed.value.code == 1011
    await socket.ended()
    monkeypatch.setattr(world.store, "sent", sent)
    assert (await talk.back())["recovered"] == "yes"
    assert [(await talk.next("message"))["data"] for _ in range(2)] == ["missed", "live"]


async def test_who_is_replaced_before_its_welcome_is_closed_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its welcome may wait for the store as long as that is away."""
    talk = Talk(world)
    await talk.come()
    await talk.drop()
    sent, asked, gate = world.store.sent, asyncio.Event(), asyncio.Event()

    async def waits(*given: Any) -> Any:
        asked.set()
        await gate.wait()
        return await sent(*given)

    monkeypatch.setattr(world.store, "sent", waits)
    older = await world.open(Room.as_asgi(), websocket_scope("lobby", subprotocols=["hub.v1"]))
    older.send_nowait(json.dumps({"type": "connect", "token": talk.hello["token"]}))
    await asked.wait()
    monkeypatch.setattr(world.store, "sent", sent)
    assert (await talk.back())["resumed"]
    assert await older.close_code() == 1012
    gate.set()
    await older.ended()


async def test_who_heard_more_at_another_server_has_missed_nothing(world: World) -> None:
    """What has not come here yet comes twice to it, and it knows that by the numbers."""
    await Talk(world, Brief).come()
    await hub_broadcast("lobby", "1")
    item = Publication(hub="lobby", item=to_item(Entry("lobby", "2")), id="2")
    (two,) = await world.store.publish([item])
    talk = Talk(world, Brief)
    hello = await talk.come(epoch=two.epoch, seq=2)
    assert (hello["recovered"], hello["seq"]) == ("yes", 2)
    await hub_broadcast("lobby", "3")
    assert [(await talk.next("message"))["seq"] for _ in range(2)] == [2, 3]
    assert (await Talk(world, Brief).come(epoch=two.epoch, seq=9))["recovered"] == "no"


async def test_what_a_client_heard_of_a_log_that_is_not_known_here_yet_is_not_known(world: World) -> None:
    """Where this process stands is a number of another log."""
    await Talk(world, Brief).come()
    for text in "12":
        await hub_broadcast("lobby", text)
    world.store._logs._logs.clear()
    items = [
        Publication(hub="lobby", item=to_item(Entry("lobby", str(number))), id=str(number))
        for number in range(5)
    ]
    first, *_ = await world.store.publish(items)
    hello = await Talk(world, Brief).come(epoch=first.epoch, seq=1)
    assert hello["recovered"] == "no"


async def test_the_first_frame_has_a_bound_too(world: World) -> None:
    scope = websocket_scope("lobby", subprotocols=["hub.v1"])
    socket = await world.open(Room.as_asgi(), scope)
    socket.send_nowait(json.dumps({"type": "connect", "epoch": "x" * 70_000}))
    assert await socket.close_code() == 1009


async def test_only_who_is_shown_is_in_the_list(world: World) -> None:
    class Unseen(Room):
        presence = False

    await Talk(world, Unseen).come()
    hello = await Talk(world).come()
    assert [member["client"] for member in hello["presence"]] == [hello["client"]]


async def test_one_cancelled_while_its_server_goes_on_is_lost_and_then_gone(world: World) -> None:
    talk = Talk(world, Brief)
    await talk.come()
    talk.socket.cancel()
    await until(lambda: Left in kinds(world))
    assert kinds(world) == [Joined, Lost, Left]


async def test_more_than_may_wait_is_had_on_return(world: World) -> None:
    class Narrow(Room):
        max_queue_bytes = 1000
        presence = False

    talk = Talk(world, Narrow)
    await talk.come()
    await talk.drop()
    for number in range(50):
        await hub_broadcast("lobby", f"{number} " + "x" * 100)
    await talk.back()
    heard = [(await talk.next("message"))["data"].split()[0] for _ in range(50)]
    assert heard == [str(number) for number in range(50)]


@pytest.mark.parametrize("presence", [True, False])
async def test_after_a_hole_the_list_of_who_is_there_comes_anew(world: World, presence: bool) -> None:
    class Shown(Room):
        pass

    Shown.presence = presence
    talk = Talk(world, Shown)
    hello = await talk.come()
    hole = Entry("lobby", "{}", epoch="another", seq=7, kind=Kind.RESYNC)
    world.relay.fanout.put([hole])
    resync = await talk.next("resync")
    assert (resync["epoch"], resync["seq"]) == ("another", 7)
    if presence:
        closing = await talk.next("closing")
        assert (closing["code"], closing["reconnect"]) == (1012, True)
        assert await talk.socket.close_code() == 1012
        talk.socket.disconnect(1012)
        await talk.socket.ended()
        await until(lambda: Lost in kinds(world))
        again = await talk.back()
        assert (again["resumed"], len(again["presence"])) == (True, 1)
        assert again["client"] == hello["client"]
    else:
        talk.say(type="ping")
        await talk.next("pong")


async def test_one_that_we_closed_for_a_while_and_is_not_back_is_gone(world: World) -> None:
    talk = Talk(world, Brief)
    hello = await talk.come()
    assert await hub_send(hello["client"], Close(1012, "come back"), hub="lobby")
    assert await talk.socket.close_code() == 1012
    talk.socket.disconnect(1012)
    await talk.socket.ended()
    await until(lambda: Left in kinds(world))
    assert kinds(world) == [Joined, Lost, Left]
