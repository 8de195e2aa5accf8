"""Limits of users, addresses and hubs: who is refused with what, and what a refusal costs."""

import asyncio
import json
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from django_hub.bans import hub_ban
from django_hub.events import Joined
from django_hub.exceptions import Unavailable
from django_hub.stores.visits import Place, Visit
from tests.apps import OpenConsumer, World
from tests.apps import world as world
from tests.sockets import Socket, turns, until, websocket_scope

ANN = User(pk=7)
NONE = dict.fromkeys(
    [
        *("CONNECTIONS_PER_USER", "CONNECTIONS_PER_ADDRESS", "HUBS_PER_USER"),
        *("JOINS_PER_USER", "JOINS_PER_ADDRESS"),
    ]
)


class Pair(OpenConsumer):
    max_members = 2


class Closed(OpenConsumer):
    asked = 0

    async def authorize(self) -> bool:
        Closed.asked += 1
        return False


@pytest.fixture
def limit(world: World, settings: Any) -> Any:
    def limit(**some: Any) -> None:
        settings.DJANGO_HUB = {**NONE, "PROXIES": 0, **some}

    return limit


async def come(
    world: World, hub: str = "lobby", user: Any = None, consumer: Any = OpenConsumer, **more: Any
) -> Socket:
    scope = websocket_scope(hub, user=user or AnonymousUser(), client=("192.0.2.1", 4711), **more)
    return await world.open(consumer.as_asgi(), scope)


async def members(world: World, count: int) -> None:
    await until(lambda: sum(isinstance(event, Joined) for event in world.events) == count)


@pytest.mark.parametrize(
    ("setting", "user", "code"),
    [("CONNECTIONS_PER_USER", ANN, 4430), ("CONNECTIONS_PER_ADDRESS", None, 4431)],
)
async def test_one_more_than_there_may_be(
    world: World, limit: Any, setting: str, user: Any, code: int, caplog: Any
) -> None:
    limit(**{setting: 2})
    sockets = [await come(world, user=user) for _ in range(2)]
    await members(world, 2)
    for _ in range(3):
        refused = await come(world, user=user)
        assert await refused.close_code() == code
    assert sum("is refused with" in message for message in caplog.messages) == 1
    assert world.relay.places.refusals.total == {code: 3}
    # Who goes makes room.
    await sockets[0].leave()
    world.relay.places._refused.clear()
    await come(world, user=user)
    await members(world, 3)


async def test_who_is_not_counted_costs_nothing(world: World, limit: Any) -> None:
    limit(CONNECTIONS_PER_USER=1, CONNECTIONS_PER_ADDRESS=1, PROXIES=None)
    for _ in range(3):
        await come(world)
    await members(world, 3)
    assert len(world.relay.places) == 0


async def test_different_hubs_of_a_user(world: World, limit: Any, caplog: Any) -> None:
    limit(HUBS_PER_USER=2)
    for hub in ("a", "b", "a", "b"):
        await come(world, hub, ANN)
    await members(world, 4)
    assert await (await come(world, "c", ANN)).close_code() == 4434
    assert sum(message.startswith("user 7 is refused with 4434") for message in caplog.messages) == 1
    assert not world.relay.places._refused
    await come(world, "c", User(pk=8))
    await come(world, "a", ANN)
    await members(world, 6)


@pytest.mark.parametrize(("setting", "user"), [("JOINS_PER_USER", ANN), ("JOINS_PER_ADDRESS", None)])
async def test_too_many_joins_in_a_short_time(world: World, limit: Any, setting: str, user: Any) -> None:
    limit(**{setting: 3})
    for _ in range(3):
        await (await come(world, user=user)).leave()
    assert await (await come(world, user=user)).close_code() == 4432


async def test_who_may_not_join_is_counted_and_hooks_are_spared(world: World, limit: Any) -> None:
    Closed.asked = 0
    limit(JOINS_PER_ADDRESS=3)
    for _ in range(4):
        assert await (await come(world, consumer=Closed)).close_code() == 4403
        await until(lambda: world.relay.places._visits.is_idle)
    # It is told with the one that was too many.
    for _ in range(3):
        assert await (await come(world, consumer=Closed)).close_code() == 4432
    assert Closed.asked == 4


@pytest.mark.parametrize("speaks", [False, True])
async def test_who_is_refused_behind_the_hooks_is_counted_too(
    world: World, limit: Any, speaks: bool
) -> None:
    limit(JOINS_PER_USER=3)
    await hub_ban("lobby", user=ANN, seconds=60)
    more = {"subprotocols": ["hub.v1"]} if speaks else {}
    for _ in range(4):
        socket = await come(world, user=ANN, **more)
        socket.send_nowait('{"type":"connect"}')
        assert await socket.close_code() == 4403
        await until(lambda: world.relay.places._visits.is_idle)
    assert world.relay.places.refusals.total == {4432: 1}
    assert await (await come(world, user=ANN)).close_code() == 4432


async def test_a_server_that_stops_gives_back_what_its_sockets_held(world: World, limit: Any) -> None:
    limit(CONNECTIONS_PER_USER=1)
    socket = await come(world, user=ANN)
    await members(world, 1)
    process = world.relay._process
    await world.relay.shut_down()
    visit = Visit((Place("user 7", 1),))
    assert await world.store.visit("another server", {}, [visit]) == [None]
    socket.cancel()
    await socket.ended()
    await turns()
    # Its end brings no relay to life again.
    assert (world.relay._process, world.relay.is_running) == (process, False)


async def test_a_full_hub(world: World, limit: Any, caplog: Any) -> None:
    limit()
    await come(world, consumer=Pair, client_id="ann")
    await come(world, consumer=Pair, client_id="bob")
    for _ in range(2):
        assert await (await come(world, consumer=Pair, client_id="eve")).close_code() == 4433
    # Not one that takes its own place.
    await come(world, consumer=Pair, client_id="ann")
    await members(world, 3)
    assert [event.client_id for event in world.events if event.client_id == "eve"] == []
    assert sum("4433: the hub is full" in message for message in caplog.messages) == 1


# Clients of hub.v1


async def say(socket: Socket, **fields: Any) -> dict[str, Any]:
    socket.send_nowait(json.dumps(fields))
    return json.loads(await socket.receive())  # type: ignore[no-any-return]


async def test_a_refusal_says_closing_and_comes_after_connect(world: World, limit: Any) -> None:
    limit(CONNECTIONS_PER_ADDRESS=1)
    first = await come(world, subprotocols=["hub.v1"])
    assert (await say(first, type="connect"))["type"] == "hello"
    second = await come(world, subprotocols=["hub.v1"])
    closing = await say(second, type="connect")
    assert (closing["type"], closing["code"], closing["reconnect"]) == ("closing", 4431, True)
    assert await second.close_code() == 4431


async def test_a_full_hub_says_no_hello(world: World, limit: Any) -> None:
    limit()
    for name in ("ann", "bob"):
        await come(world, consumer=Pair, client_id=name)
    await members(world, 2)
    third = await come(world, consumer=Pair, subprotocols=["hub.v1"])
    closing = await say(third, type="connect")
    assert (closing["type"], closing["code"], closing["reconnect"]) == ("closing", 4433, True)


async def test_a_resume_is_not_a_new_one(world: World, limit: Any) -> None:
    limit(CONNECTIONS_PER_USER=1, CONNECTIONS_PER_ADDRESS=1, HUBS_PER_USER=1, JOINS_PER_USER=2)
    first = await come(world, user=ANN, subprotocols=["hub.v1"])
    hello = await say(first, type="connect")
    # The old socket is still there: nobody knows yet that it is broken.
    back = await come(world, user=ANN, subprotocols=["hub.v1"])
    again = await say(back, type="connect", token=hello["token"])
    assert (again["type"], again["resumed"]) == ("hello", True)
    assert await first.close_code() == 1012
    # But it may not come back as often as it likes.
    back = await come(world, user=ANN, subprotocols=["hub.v1"])
    assert (await say(back, type="connect", token=hello["token"]))["type"] == "hello"
    back = await come(world, user=ANN, subprotocols=["hub.v1"])
    assert (await say(back, type="connect", token=hello["token"]))["code"] == 4432


async def test_a_token_of_one_that_is_gone_is_a_new_one(world: World, limit: Any) -> None:
    limit(CONNECTIONS_PER_USER=1)
    first = await come(world, user=ANN, subprotocols=["hub.v1"])
    hello = await say(first, type="connect")
    await first.leave()
    await come(world, user=ANN)
    await members(world, 2)
    back = await come(world, user=ANN, subprotocols=["hub.v1"])
    assert (await say(back, type="connect", token=hello["token"]))["code"] == 4430


async def test_no_more_wait_to_speak_than_may_be_there(world: World, limit: Any) -> None:
    limit(CONNECTIONS_PER_ADDRESS=2)
    waiting = [await come(world, subprotocols=["hub.v1"]) for _ in range(2)]
    assert await (await come(world, subprotocols=["hub.v1"])).close_code() == 4431
    for socket in waiting:
        assert (await say(socket, type="connect"))["type"] == "hello"
    assert world.relay.places.waiting == {}


# What goes wrong


async def test_while_the_store_is_away_each_process_counts_for_itself(
    world: World, limit: Any, monkeypatch: Any, caplog: Any
) -> None:
    limit(CONNECTIONS_PER_USER=2)
    store, visit = world.store, world.store.visit
    await come(world, user=ANN)
    await members(world, 1)

    async def away(*args: Any) -> Any:
        raise Unavailable("asked to")

    monkeypatch.setattr(store, "visit", away)
    await come(world, user=ANN)
    await members(world, 2)
    assert await (await come(world, user=ANN)).close_code() == 4430
    await world.relay.places.look()
    assert sum("by this process alone" in message for message in caplog.messages) == 1
    # It is back, and knows nothing.
    store._visits._tallies.clear()
    monkeypatch.setattr(store, "visit", visit)
    await world.relay.places.look()
    assert await store.visit("another", {}, [Visit((Place("user 7", 2),))]) == [0]
    await world.relay.places.look()


@pytest.fixture
def away(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Take the store's counts away; what is returned brings them back."""

    def go() -> Any:
        async def gone(*args: Any) -> Any:
            raise Unavailable("asked to")

        patch = pytest.MonkeyPatch()
        patch.setattr(world.store, "visit", gone)
        return patch.undo

    return go


async def test_who_went_while_the_store_was_away_holds_nothing_when_it_is_back(
    world: World, limit: Any, away: Any
) -> None:
    limit(CONNECTIONS_PER_USER=2)
    await come(world)  # somebody stays, or the process would be another one
    sockets = [await come(world, user=ANN) for _ in range(2)]
    await members(world, 3)
    back = away()
    for socket in sockets:
        await socket.leave()
    await until(lambda: world.relay.places._visits.is_idle)
    back()
    await world.relay.places.look()
    await world.store.beat("another")
    assert await world.store.visit("another", {}, [Visit((Place("user 7", 2),))]) == [None]
    assert not world.relay.places._doubtful


async def test_what_the_store_did_without_an_answer_is_taken_back(
    world: World, limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(CONNECTIONS_PER_USER=1)
    store, visit = world.store, world.store.visit
    await come(world)
    await members(world, 1)

    async def silent(*args: Any) -> Any:
        await visit(*args)
        raise Unavailable("the reply was lost")

    monkeypatch.setattr(store, "visit", silent)
    socket = await come(world, user=ANN)
    await members(world, 2)
    await socket.leave()
    await until(lambda: world.relay.places._visits.is_idle)
    monkeypatch.setattr(store, "visit", visit)
    await world.relay.places.look()
    assert not store._visits._tallies


async def test_what_is_held_counts_while_the_store_is_away(world: World, limit: Any, away: Any) -> None:
    limit(HUBS_PER_USER=2)
    held = [await come(world, hub, ANN) for hub in ("a", "b")]
    await members(world, 2)
    for _ in range(2):
        back = away()
        assert await (await come(world, "c", ANN)).close_code() == 4434
        again = await come(world, "a", ANN)
        await again.leave()
        back()
        await world.relay.places.look()
        # Nothing of it is kept.
        assert world.relay.places._alone is None
    assert all(socket.running for socket in held)


async def test_who_gives_up_waiting_holds_nothing(world: World, limit: Any, monkeypatch: Any) -> None:
    limit(CONNECTIONS_PER_USER=2)
    store, visit, gate = world.store, world.store.visit, asyncio.Event()

    async def slow(*args: Any) -> Any:
        await gate.wait()
        return await visit(*args)

    monkeypatch.setattr(store, "visit", slow)
    socket = await come(world, user=ANN)
    await until(lambda: not world.relay.places._visits.is_idle)
    socket.cancel()
    await socket.ended()
    gate.set()
    await until(lambda: world.relay.places._visits.is_idle and not world.relay.places)
    assert world.relay.places.waiting == {}
