"""Consumers that are not ours in hubs: stock ones, asynchronous and not, and those that forget to leave."""

import asyncio
import gc
from typing import Any

import pytest
from channels.consumer import AsyncConsumer
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from django.contrib.auth.models import User

from django_hub import sync
from django_hub.additions import hub_add, hub_post, hub_remove
from django_hub.api import hub_broadcast, hub_member, hub_members, hub_send
from django_hub.exceptions import InvalidMessage, InvalidName, Unavailable
from django_hub.filters import Where
from django_hub.relay import get_relay
from tests.apps import EVENTS, FaultyStore, Line, World
from tests.apps import world as world
from tests.sockets import Closed, Socket, turns, until, websocket_scope


class Stock(AsyncWebsocketConsumer):
    """A consumer with a life of its own, which does what its client says."""

    made: list["Stock"] = []  # noqa: RUF012

    async def connect(self) -> None:
        await self.accept()
        for hub in self.scope["hubs"]:
            await hub_add(hub, self, self.scope["client_id"], self.scope.get("meta"), events=EVENTS)
        await self.send("ready")

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        match (text_data or "").split():
            case ["remove", hub]:
                await self.send(f"removed {await hub_remove(hub, self)}")
            case ["add", hub, client_id]:
                try:
                    await self.send(f"added {await hub_add(hub, self, client_id, events=EVENTS)}")
                except TypeError as error:
                    await self.send(f"TypeError: {error}")
            case ["fail"]:
                raise ValueError("asked to")
            case ["own"]:
                await self.send("own")
            case _:
                data = text_data if text_data is not None else bytes_data
                taken = [await hub_post(hub, self, data) for hub in self.scope["hubs"]]
                await self.send(f"posted {taken}")


class Blocking(WebsocketConsumer):
    """The same, in threads."""

    def connect(self) -> None:
        self.accept()
        self.client_id = sync.hub_add("lobby", self, self.scope["client_id"], events=EVENTS)
        self.send("ready")

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        match text_data:
            case "remove":
                self.send(f"removed {sync.hub_remove('lobby', self)}")
            case "fail":
                raise ValueError("asked to")
            case _:
                self.send(f"posted {sync.hub_post('lobby', self, text_data)}")


async def stock(
    world: World, client_id: str = "ann", hubs: tuple[str, ...] = ("lobby",), **more: Any
) -> Socket:
    consumer = more.pop("consumer", Stock)
    scope = websocket_scope("unused", client_id=client_id, hubs=hubs, **more)
    socket = await world.open(consumer.as_asgi(), scope)
    assert await socket.receive() == "ready"
    await world.settled()
    return socket


async def ask(socket: Socket, text: str | bytes) -> str | bytes:
    socket.send_nowait(text)
    return await socket.receive()


@pytest.fixture(params=[Stock, Blocking], ids=["asynchronous", "in threads"])
def consumer(request: pytest.FixtureRequest) -> Any:
    return request.param


# Either kind


async def test_it_is_a_member_like_any_other(world: World, consumer: Any) -> None:
    ann = await stock(world, consumer=consumer)
    bob = await world.join("bob")
    assert [member.client_id async for member in hub_members("lobby")] == ["ann", "bob"]
    await hub_broadcast("lobby", "to all")
    assert await hub_send("ann", b"to one") is True
    assert await ann.receive_all(2) == ["to all", b"to one"]
    assert await bob.receive() == "to all"


async def test_what_it_receives_it_may_hand_on(world: World, consumer: Any) -> None:
    ann = await stock(world, consumer=consumer)
    ann.send_nowait("hi")
    await world.heard(("joined", "ann"), ("message", "ann", "hi"))


async def test_it_leaves_with_its_socket(world: World, consumer: Any) -> None:
    ann = await stock(world, consumer=consumer)
    ann.disconnect(1001)
    await ann.ended()
    await until(lambda: world.told()[-1:] == [("left", "ann", "close")])
    assert world.events[-1].code == 1001
    await world.settled()
    assert await hub_member("lobby", "ann") is None


async def test_it_is_found_when_it_failed(world: World, consumer: Any) -> None:
    ann = await stock(world, consumer=consumer)
    ann.send_nowait("fail")
    failure = await ann.failure()
    assert failure is not None
    assert "asked to" in failure
    # A consumer in threads is in a cycle with its own traceback, and ends with the next collection.
    await until(lambda: (gc.collect(), world.told())[1] == [("joined", "ann"), ("left", "ann", "read")])
    assert "ended without leaving" in world.events[-1].error


async def test_it_is_found_when_it_was_cancelled(world: World, consumer: Any) -> None:
    ann = await stock(world, consumer=consumer)
    ann.cancel()
    await ann.failure()
    await until(lambda: world.told()[-1][0] == "left")
    assert await hub_member("lobby", "ann") is None


async def test_it_may_leave_and_stay_open(world: World, consumer: Any) -> None:
    ann = await stock(world, consumer=consumer)
    text = "remove lobby" if consumer is Stock else "remove"
    assert await ask(ann, text) == "removed True"
    assert await ask(ann, text) == "removed False"
    await hub_broadcast("lobby", "not for ann")
    await world.heard(("joined", "ann"), ("left", "ann", "close"))
    assert ann.running
    assert ann.received() == []


async def test_the_newer_connection_of_its_id_closes_it(world: World, consumer: Any) -> None:
    ann = await stock(world, consumer=consumer)
    await world.join("ann")
    assert await ann.close_code() == 4409
    await ann.ended()
    await world.heard(("joined", "ann"), ("left", "ann", "replaced"), ("joined", "ann"))


class Early(AsyncWebsocketConsumer):
    """In the hub before it accepts, as stock consumers are in groups; or it never does."""

    async def connect(self) -> None:
        await hub_add("lobby", self, "ann", events=EVENTS)
        await hub_broadcast("lobby", "early")
        await get_relay().idle()
        if self.scope["accepts"]:
            await self.accept()
            await self.send("own")
        else:
            await self.close()


class EarlyInThreads(WebsocketConsumer):
    def connect(self) -> None:
        sync.hub_add("lobby", self, "ann", events=EVENTS)
        sync.hub_broadcast("lobby", "early")
        if self.scope["accepts"]:
            self.accept()
            self.send("own")
        else:
            self.close()


@pytest.fixture(params=[Early, EarlyInThreads], ids=["asynchronous", "in threads"])
def early(request: pytest.FixtureRequest) -> Any:
    return request.param.as_asgi()


async def test_before_it_accepts_what_comes_for_it_waits(world: World, early: Any) -> None:
    ann = await world.open(early, websocket_scope("unused", accepts=True))
    assert sorted(await ann.receive_all(2)) == ["early", "own"]
    await hub_broadcast("lobby", "late")
    assert await ann.receive() == "late"
    ann.disconnect(1001)
    await ann.ended()
    await world.heard(("joined", "ann"), ("left", "ann", "close"))


async def test_one_that_does_not_accept_has_left(world: World, early: Any) -> None:
    with pytest.raises(Closed):
        await world.open(early, websocket_scope("unused", accepts=False))
    await world.heard(("joined", "ann"), ("left", "ann", "close"))
    assert world.events[-1].undelivered == ("early",)


# The asynchronous one alone


@pytest.mark.django_db(transaction=True)
async def test_its_answers_its_meta_and_its_user(world: World) -> None:
    user = await User.objects.acreate(pk=7, username="ann")
    ann = await stock(world, meta={"age": 5}, user=user)
    assert await ask(ann, "own") == "own"
    member = await hub_member("lobby", "ann")
    assert member is not None
    assert (member.meta, member.user_id) == ({"age": 5}, "7")


async def test_without_an_id_it_gets_one(world: World) -> None:
    await stock(world, client_id=None)
    (member,) = [member async for member in hub_members("lobby")]
    assert len(member.client_id) == 32


async def test_a_consumer_in_several_hubs(world: World) -> None:
    ann = await stock(world, hubs=("one", "two"))
    await hub_broadcast("one", "from one")
    await hub_broadcast("two", "from two")
    assert await ann.receive_all(2) == ["from one", "from two"]
    assert await ask(ann, "hi") == "posted [True, True]"
    assert await ask(ann, "remove one") == "removed True"
    assert await ask(ann, "hi again") == "posted [False, True]"
    ann.disconnect()
    await ann.ended()
    await world.heard(("joined", "ann"), ("message", "ann", "hi"), ("left", "ann", "close"), hub="one")
    await world.heard(
        ("joined", "ann"),
        ("message", "ann", "hi"),
        ("message", "ann", "hi again"),
        ("left", "ann", "close"),
        hub="two",
    )


async def test_adding_it_twice_to_a_hub_is_refused(world: World) -> None:
    ann = await stock(world)
    answer = str(await ask(ann, "add lobby other"))
    assert answer.startswith("TypeError: This consumer is in hub 'lobby' already, as 'ann'.")
    assert await hub_member("lobby", "ann") is not None
    assert await hub_member("lobby", "other") is None


async def test_after_removing_it_may_come_again(world: World) -> None:
    ann = await stock(world)
    await ask(ann, "remove lobby")
    assert await ask(ann, "add lobby other") == "added other"
    await world.heard(("joined", "ann"), ("left", "ann", "close"), ("joined", "other"))


async def test_added_while_the_store_is_gone_it_waits(world: World) -> None:
    store = world.use_store(FaultyStore())
    ann = await stock(world, hubs=())
    store.fail["beat"] = [Unavailable("gone")]
    consumer = Bare(ann)
    assert await hub_add("lobby", consumer, "ann", events=EVENTS) == "ann"
    assert await hub_remove("lobby", consumer) is True
    await world.settled()


async def test_one_that_could_not_be_added_may_be_added_later(world: World) -> None:
    store = world.use_store(FaultyStore())
    ann = await stock(world, hubs=())
    store.fail["beat"] = [KeyError("bug")]
    consumer = Bare(ann)
    with pytest.raises(KeyError):
        await hub_add("lobby", consumer, "ann", events=EVENTS)
    assert await hub_add("lobby", consumer, "ann", events=EVENTS) == "ann"
    assert await hub_remove("lobby", consumer) is True
    await world.settled()


async def test_a_join_that_was_given_up_can_be_taken_back(world: World) -> None:
    ann = await stock(world, hubs=())
    consumer = Bare(ann)
    adding = asyncio.create_task(hub_add("lobby", consumer, "ann", events=EVENTS))
    await turns(1)
    adding.cancel()
    await asyncio.wait([adding])
    await hub_remove("lobby", consumer)
    await world.settled()
    assert await hub_member("lobby", "ann") is None


class Bare:
    """The least that is a websocket consumer."""

    def __init__(self, socket: Socket) -> None:
        self.scope = {"type": "websocket"}
        self.base_send = socket._send


async def test_one_without_a_disconnect_is_found_when_it_ends(world: World) -> None:
    ann = await stock(world, hubs=())
    consumer = Bare(ann)
    await hub_add("lobby", consumer, "ann", events=EVENTS)
    del consumer
    await world.heard(("joined", "ann"), ("left", "ann", "read"))


class Plain(AsyncConsumer):
    """No websocket consumer, though it has a scope."""

    scope = {"type": "channel"}  # noqa: RUF012


@pytest.mark.parametrize("what", [None, "text", object(), Plain()], ids=["None", "str", "object", "worker"])
async def test_what_is_no_websocket_consumer_is_refused(world: World, what: Any) -> None:
    with pytest.raises(TypeError, match="Expected a Channels websocket consumer"):
        await hub_add("lobby", what)


@pytest.mark.parametrize("client_id", ["", "x" * 201, "nul\0"], ids=["empty", "201", "NUL"])
async def test_a_bad_id_is_refused(world: World, client_id: str) -> None:
    with pytest.raises(InvalidName):
        await hub_add("lobby", object(), client_id)


async def test_a_bad_meta_is_refused(world: World) -> None:
    with pytest.raises(InvalidMessage):
        await hub_add("lobby", object(), "ann", {"set": {1}})


async def test_a_bad_hub_name_is_refused(world: World) -> None:
    with pytest.raises(InvalidName):
        await hub_add("", object(), "ann")


async def test_a_consumer_that_outlives_its_loop_is_nobodys(world: World) -> None:
    class Anywhere:
        """The least that is a websocket consumer."""

        def __init__(self) -> None:
            self.scope = {"type": "websocket"}
            self.base_send = Line()

    consumers = [Anywhere()]

    async def there() -> None:
        await hub_add("lobby", consumers[0], "ann", events=EVENTS)
        await hub_remove("lobby", consumers[0])
        await get_relay().close()

    await asyncio.to_thread(asyncio.run, there())
    consumers.clear()  # tells nobody, and raises nothing


async def test_its_meta_chooses_what_is_broadcast_to_it(world: World) -> None:
    ann = await stock(world, meta={"team": "red"})
    await hub_broadcast("lobby", "1", Where(team="blue"))
    await hub_broadcast("lobby", "2", Where(team="red"))
    assert await ann.receive() == "2"
