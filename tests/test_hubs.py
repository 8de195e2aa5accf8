"""A hub's handle: counting, dead letters, and taking its mail by hand."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from django_hub.api import current_hub, hub_create, hub_destroy
from django_hub.conf import get_settings
from django_hub.events import Event, Message
from django_hub.exceptions import InvalidName, Unavailable
from django_hub.hubs import Hub
from django_hub.layers.choice import get_layer
from django_hub.stores.ops import Commit, HubRecord, Lease, Post
from django_hub.taking import Posting
from tests.apps import EVENTS, FAULTY, GONE, Clock, FaultyStore, World, make_connection, tell
from tests.apps import world as world
from tests.sockets import turns, until


@pytest.mark.parametrize("name", [None, 7, "", "x" * 201, "a\0b", "\ud800"])
def test_what_can_be_no_name_makes_no_hub(name: Any) -> None:
    """The functions take a Hub in a name's place, and would send to one that can't be there."""
    with pytest.raises(InvalidName):
        Hub(name)


class Taker:
    """Takes a hub's events by hand, in a task."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.taken: list[tuple[str, ...]] = []
        self.fails_at: Any = None
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        async with contextlib.aclosing(self.hub.events()) as events:
            async for event in events:
                self.taken.append(tell(event))
                if tell(event)[-1] == self.fails_at:
                    raise ValueError("asked to")

    async def took(self, *expected: tuple[str, ...]) -> None:
        await until(lambda: len(self.taken) >= len(expected) or self.task.done())
        assert self.taken == list(expected)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@pytest.fixture
async def lobby(world: World) -> AsyncIterator[Hub]:
    """A hub by name, whose events are the desk's."""
    yield await hub_create("lobby", events=EVENTS)
    await hub_destroy("lobby")


async def taker_of(hub: Hub, world: World) -> Taker:
    """It has the hub's mail for itself."""
    taker = Taker(hub)
    await until(lambda: hub.name in world.store._hubs and world.store._hubs[hub.name].held)
    return taker


def test_it_is_what_the_store_says() -> None:
    assert Hub.of(HubRecord(name="a", events="chat", named=True)) == Hub("a", "chat")


def test_it_can_be_a_key() -> None:
    assert {Hub("a"): 1}[Hub("a")] == 1


async def test_it_counts_its_members(world: World, lobby: Hub) -> None:
    assert await lobby.count() == 0
    await world.join("ann")
    await world.join("bob")
    assert await lobby.count() == 2
    assert await Hub("nowhere").count() == 0


async def test_it_keeps_the_letters_that_could_not_be_handled(world: World, lobby: Hub) -> None:
    async def fail(event: Event) -> None:
        if isinstance(event, Message) and event.data == "bad":
            raise ValueError("asked to")

    world.desk.handler = fail
    ann = await world.join("ann")
    ann.send_nowait("bad")
    ann.send_nowait("good")
    await world.heard(("joined", "ann"), ("message", "ann", "good"))
    (letter,) = await lobby.dead_letters()
    assert (letter.hub, letter.error) == ("lobby", "ValueError: asked to")


async def test_taking_events_by_hand(world: World, lobby: Hub) -> None:
    taker = await taker_of(lobby, world)
    ann = await world.join("ann")
    ann.send_nowait("hi")
    await taker.took(("joined", "ann"), ("message", "ann", "hi"))
    assert world.events == []
    await taker.stop()


async def test_mail_is_taken_as_it_comes_without_waiting_for_the_beat(world: World, lobby: Hub) -> None:
    """Each wake is the taker's alone: nobody else listens on its channel."""
    taker = await taker_of(lobby, world)
    ann = await world.join("ann")
    started = asyncio.get_running_loop().time()
    for number in range(20):
        ann.send_nowait(str(number))
        await until(lambda number=number: ("message", "ann", str(number)) in taker.taken)
    assert asyncio.get_running_loop().time() - started < world.store.limits.ring_again / 2
    await taker.stop()


async def test_taking_by_hand_runs_no_application(
    world: World, lobby: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    taker = await taker_of(lobby, world)
    await world.join("ann")
    await taker.took(("joined", "ann"))
    await turns(50)
    assert "failed" not in caplog.text
    await taker.stop()


async def test_what_waits_is_taken_too(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"EMBEDDED_WORKER": False}
    lobby = await hub_create("lobby")
    ann = await world.open_member("ann")
    ann.send_nowait("hi")
    await world.relay.idle()
    taker = await taker_of(lobby, world)
    await taker.took(("joined", "ann"), ("message", "ann", "hi"))
    await hub_destroy("lobby")
    await ann.leave()
    await taker.took(("joined", "ann"), ("message", "ann", "hi"), ("left", "ann", "close"))
    await turns()
    await taker.stop()


async def test_mail_that_somebody_has_is_refused(world: World, lobby: Hub) -> None:
    taker = await taker_of(lobby, world)
    with pytest.raises(RuntimeError, match="Somebody else handles the events of hub 'lobby'"):
        await anext(lobby.events())
    await taker.stop()


async def test_mail_that_was_taken_over_ends_the_loop(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"EMBEDDED_WORKER": False}
    store = world.use_store(FaultyStore(clock=Clock()))
    lobby = await hub_create("lobby")
    taker = await taker_of(lobby, world)
    channel = store._hubs["lobby"].held.ring
    store._clock.now += store.limits.hub_lease + 1
    await store.claim(["lobby"], "another", "another")
    await store.apply([make_connection("ann").join_op("p")])
    await world.layer.send(channel, {"type": "hub.wake"})
    await until(taker.task.done)
    assert "were taken over" in str(taker.task.exception())
    assert taker.taken == []
    member = await store.member("lobby", "ann")
    ann = make_connection("ann")
    ann.id, ann.process = member.connection, member.process
    await store.apply([ann.leave_op(GONE, [])])
    await hub_destroy("lobby")
    (claim,) = await store.claim(["lobby"], "another", "another")
    await store.commit([Commit("lobby", claim.token, claim.batch[-1].position, release=True)])


async def test_a_slow_taker_keeps_the_lease(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"EMBEDDED_WORKER": False, "HUB_LEASE": 0.03}
    store = world.use_store(FaultyStore(get_settings().limits))
    lobby = await hub_create("lobby")
    store.fail["renew"] = [Unavailable("gone")]
    taker = await taker_of(lobby, world)
    await until(lambda: store.calls.count("renew") > 3)
    (claim,) = await store.claim(["lobby"], "another", "another")
    assert claim.lease is Lease.FREE
    await taker.stop()
    await hub_destroy("lobby")


async def test_afterwards_the_mail_is_the_workers_again(world: World, lobby: Hub) -> None:
    ann = await world.join("ann")
    await world.heard(("joined", "ann"))
    taker = await taker_of(lobby, world)
    ann.send_nowait("1")
    await taker.took(("message", "ann", "1"))
    # It counts as handled when the next one is asked for; that is where the taker waits now.
    await world.settled()
    await taker.stop()
    ann.send_nowait("2")
    await world.heard(("joined", "ann"), ("message", "ann", "2"))


async def test_a_loop_left_with_an_exception_hands_the_last_event_out_again(
    world: World, lobby: Hub
) -> None:
    ann = await world.join("ann")
    await world.heard(("joined", "ann"))
    taker = await taker_of(lobby, world)
    taker.fails_at = "2"
    for text in ("1", "2", "3"):
        ann.send_nowait(text)
    await until(lambda: taker.task.done())
    assert isinstance(taker.task.exception(), ValueError)
    assert taker.taken == [("message", "ann", "1"), ("message", "ann", "2")]
    await world.heard(("joined", "ann"), ("message", "ann", "2"), ("message", "ann", "3"))


async def test_taking_names_the_hub(world: World) -> None:
    taker = await taker_of(Hub("lobby"), world)
    await taker.stop()
    assert await hub_destroy("lobby") is True


async def test_a_named_hub_stays_named(world: World, lobby: Hub) -> None:
    taker = await taker_of(lobby, world)
    await taker.stop()
    assert await current_hub("lobby") == Hub("lobby", EVENTS)


async def test_an_entry_that_is_no_event_is_a_dead_letter(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"EMBEDDED_WORKER": False}
    store = world.store
    ann = make_connection("ann")
    await store.apply([ann.join_op("p")])
    await store.apply([Post(hub="lobby", client_id="ann", connection=ann.id, number=1, body="{")])
    await store.apply([ann.post_op(Posting(2), "hi")])
    taker = await taker_of(Hub("lobby"), world)
    await taker.took(("joined", "ann"), ("message", "ann", "hi"))
    await store.apply([ann.leave_op(GONE, [])])
    await ring(taker, world)
    await taker.took(("joined", "ann"), ("message", "ann", "hi"), ("left", "ann", "close"))
    assert len(await store.dead_letters("lobby")) == 1
    await turns()
    await taker.stop()
    await hub_destroy("lobby")


async def test_a_lost_wake_costs_time_only(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"BEAT": 0.05, "PROCESS_LEASE": 10.0, "EMBEDDED_WORKER": False}
    taker = await taker_of(Hub("lobby"), world)
    ann = make_connection("ann")
    await world.store.apply([ann.join_op("p")])  # nobody rings
    await taker.took(("joined", "ann"))
    await world.store.apply([ann.leave_op(GONE, [])])
    await taker.took(("joined", "ann"), ("left", "ann", "close"))
    await turns()
    await taker.stop()
    await hub_destroy("lobby")


@pytest.mark.parametrize(
    ("error", "words"), [(ConnectionError, "Nothing comes"), (KeyError, "gave nothing")]
)
async def test_while_the_layer_is_away_the_store_is_not_asked_again_and_again(
    world: World, settings: Any, caplog: pytest.LogCaptureFixture, error: type[Exception], words: str
) -> None:
    settings.DJANGO_HUB = {"STORE": "memory", "EMBEDDED_WORKER": False}
    settings.CHANNEL_LAYERS = FAULTY
    store = world.use_store(FaultyStore())
    world.layer.error = error
    world.layer.fail = {"receive": 3}
    taker = await taker_of(Hub("lobby"), world)
    await until(lambda: caplog.text.count(words) == 3)
    # The first look of each; then it waits for a wake.
    assert store.calls.count("commit") <= 1
    await until(lambda: world.layer.calls.count(("receive", store._hubs["lobby"].held.ring)) == 4)
    ann = make_connection("ann")
    await store.apply([ann.join_op("p"), ann.leave_op(GONE, [])])
    await ring(taker, world)
    await taker.took(("joined", "ann"), ("left", "ann", "close"))
    await turns()
    await taker.stop()
    await hub_destroy("lobby")


async def test_a_layer_that_is_away_at_the_end_keeps_the_hub_from_nobody(
    world: World, lobby: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[str] = []

    async def stop(channel: str) -> None:
        stopped.append(channel)
        raise Unavailable("gone")

    monkeypatch.setattr(get_layer(), "stop", stop)
    taker = await taker_of(lobby, world)
    await taker.stop()
    assert len(stopped) == 1
    assert taker.task.cancelled()
    assert not world.store._hubs["lobby"].held


async def ring(taker: Taker, world: World) -> None:
    """Wake a taker."""
    await world.layer.send(world.store._hubs[taker.hub.name].held.ring, {"type": "hub.wake"})
