"""The relay: its beat, and its own life from the first client to the last."""

import asyncio
import contextlib
import contextvars
from typing import Any

import pytest

from django_hub import relay as module
from django_hub.api import hub_broadcast
from django_hub.entries import Entry
from django_hub.events import Event
from django_hub.exceptions import Unavailable
from django_hub.limits import Limits
from django_hub.relay import get_relay
from tests import apps
from tests.apps import FAULTY, FaultyStore, World, declare_all_dead
from tests.apps import make as make
from tests.apps import store as store
from tests.apps import world as world
from tests.sockets import turns, until


@pytest.mark.parametrize(
    ("beat", "lease"), [(0.01, 1.0), (100.0, 200.0)], ids=["at a beat", "sooner than the next beat"]
)
async def test_groups_are_refreshed_before_the_layer_forgets(
    world: World, make: Any, settings: Any, beat: float, lease: float
) -> None:
    settings.DJANGO_HUB = {"STORE": "memory", "BEAT": beat, "PROCESS_LEASE": lease}
    settings.CHANNEL_LAYERS = {"default": {**FAULTY["default"], "CONFIG": {"group_expiry": 0.03}}}
    store = world.use_store(FaultyStore())
    ann = make("ann")
    await ann.join()
    await until(lambda: world.layer.calls.count(("group_add", "hub.lobby")) > 2)
    await ann.leave()
    await world.relay.close()
    await store.mail("lobby")


async def test_a_layer_that_lets_it_hang_is_listened_to_anew(
    world: World, make: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its receive neither fails nor returns: only what is not heard tells."""
    settings.DJANGO_HUB = {"STORE": "memory", "BEAT": 0.02, "PROCESS_LEASE": 1.0}
    settings.CHANNEL_LAYERS = FAULTY
    store = world.use_store(FaultyStore())
    world.layer.gates["receive"] = asyncio.Event()
    ann = make("ann")
    await ann.join()
    await until(lambda: "Nothing comes from the channel layer any more" in caplog.text)
    # The next receive is another one.
    del world.layer.gates["receive"]
    await hub_broadcast("lobby", "hello")
    await until(lambda: ann.line.frames == ["hello"])
    await ann.leave()
    await world.relay.close()
    await store.mail("lobby")


async def test_what_it_says_to_itself_may_be_back_before_it_is_said(
    world: World, make: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DJANGO_HUB = {"STORE": "memory", "BEAT": 0.01, "PROCESS_LEASE": 1.0}
    settings.CHANNEL_LAYERS = FAULTY
    store = world.use_store(FaultyStore())
    ann = make("ann")
    await ann.join()
    take = world.layer.inner.send
    said = 0

    async def slow_reply(channel: str, message: dict[str, Any]) -> None:
        nonlocal said
        await take(channel, message)
        await turns(20)
        said += 1

    world.layer.inner.send = slow_reply
    await until(lambda: said > 5)
    assert "Nothing comes from the channel layer" not in caplog.text
    await ann.leave()
    await world.relay.close()
    await store.mail("lobby")


async def test_a_store_that_lost_its_data_is_told_of_with_the_count(
    world: World, make: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DJANGO_HUB = {"STORE": "memory", "BEAT": 0.01, "PROCESS_LEASE": 1.0}
    settings.CHANNEL_LAYERS = FAULTY
    store = world.use_store(FaultyStore())
    ann = make("ann")
    await ann.join()
    await ann.post("handled")
    await store.mail("lobby")
    await until(lambda: world.relay.outbox.accepted.now() == {})
    for text in ("1", "2", "3"):
        await ann.post(text)
    beats = store.calls.count("beat")
    await until(lambda: store.calls.count("beat") > beats + 2)
    assert "lost its data" not in caplog.text
    store.era = "after the fire"
    await until(lambda: "lost its data" in caplog.text)
    assert "at most 3, of 1 hubs" in caplog.text
    assert "Its 1 clients join again" in caplog.text
    await until(lambda: world.relay.outbox.accepted.now() == {})
    assert caplog.text.count("lost its data") == 1
    await ann.leave()
    await world.relay.close()
    await store.mail("lobby")


async def test_two_beats_at_once_are_one_after_the_other(
    make: Any, world: World, store: FaultyStore
) -> None:
    """The regular one, and that which a store that is back calls for."""
    ann = make("ann")
    await ann.join()
    await store.mail("lobby")
    store.gate = asyncio.Event()
    beats = [asyncio.create_task(world.relay.beat()) for _ in range(2)]
    await until(lambda: "waiting_in" in store.calls)
    await turns()
    await ann.post("hi")
    store.gate.set()
    await asyncio.gather(*beats)
    assert world.relay.outbox.accepted.now() == {"lobby": 1}


async def test_two_beats_at_once_have_one_pump(make: Any, world: World, store: FaultyStore) -> None:
    ann = make("ann")
    await ann.join()
    await world.relay.beat()
    await until(lambda: not world.relay.hearing.silence)
    world.relay.hearing.ask()
    world.relay.ear._pinged = 0.0
    tasks = len(asyncio.all_tasks())
    await asyncio.gather(world.relay.beat(), world.relay.beat())
    await turns()
    assert len(asyncio.all_tasks()) == tasks
    await world.relay.sender.broadcast(Entry("lobby", "hello"))
    await until(lambda: ann.line.frames == ["hello"])


async def test_how_long_its_way_is_is_seen_behind_what_waits_and_while_it_runs(
    world: World, make: Any, settings: Any
) -> None:
    settings.DJANGO_HUB = {"STORE": "memory", "BEAT": 0.02, "PROCESS_LEASE": 1.0}
    settings.CHANNEL_LAYERS = FAULTY
    store = world.use_store(FaultyStore())
    ann = make("ann")
    await ann.join()
    take, behind = world.layer.inner.send, 0.1

    async def late(channel: str, message: dict[str, Any]) -> None:
        # Another one comes before it, at once.
        await take(channel, {"type": "something else"})
        await asyncio.sleep(behind)
        await take(channel, message)

    world.layer.inner.send = late
    hearing = world.relay.hearing
    await until(lambda: (hearing.lag or 0.0) >= behind)
    await ann.leave()
    await store.mail("lobby")
    await world.relay.close()
    assert world.relay.hearing.lag is None


async def test_a_beat_of_one_that_is_stopped_listens_to_nothing(
    make: Any, world: World, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    """The keeper's cancellation may be swallowed where redis-py connects."""
    ann = make("ann")
    await ann.join()
    await ann.leave()
    await store.mail("lobby")
    await world.relay.close()
    world.relay.hearing.ask()
    world.relay.ear._pinged = 0.0
    await world.relay.beat()
    assert caplog.text == ""


@pytest.mark.parametrize("error", [Unavailable("gone"), KeyError("bug")])
async def test_a_part_of_a_beat_that_fails_keeps_no_other_from_being_done(
    make: Any, world: World, store: FaultyStore, error: Exception
) -> None:
    ann = make("ann")
    await ann.join()
    await declare_all_dead(store)
    store.fail["waiting_in"] = [error]
    with contextlib.suppress(Unavailable):
        await world.relay.beat()
    assert await store.count("lobby") == 1


async def test_no_look_at_a_store_that_is_back_outlives_the_relay(
    make: Any, world: World, store: FaultyStore
) -> None:
    alone = {asyncio.current_task()}
    ann = make("ann")
    await ann.join()
    store.gate = asyncio.Event()
    world.relay.outbox.recovered()
    await until(lambda: "waiting_in" in store.calls)
    await ann.leave()
    await world.relay.close()
    assert asyncio.all_tasks() == alone


# The relay's own life


async def test_it_runs_from_its_first_client_to_its_last(make: Any, world: World) -> None:
    alone = {asyncio.current_task()}
    ann, bob = make("ann"), make("bob")
    await ann.join()
    await bob.join()
    assert len(asyncio.all_tasks() - alone) == 2
    await ann.leave()
    await world.relay.idle()
    assert len(asyncio.all_tasks() - alone) == 2
    await bob.leave()
    await world.relay.close()
    assert asyncio.all_tasks() == alone


async def test_it_starts_again_with_the_next_client(make: Any, world: World) -> None:
    for _ in range(3):
        ann = make("ann")
        await ann.join()
        await world.relay.sender.broadcast(Entry("lobby", "hello"))
        await until(lambda line=ann.line: line.frames == ["hello"])
        await ann.leave()
        await world.relay.close()


async def test_visits_shorter_than_a_beat_leave_nothing_behind(
    make: Any, world: World, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a beat would tidy up is tidied up at the end of one, after a beat's time without."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    for number in range(3):
        now += 11
        store._clock.now += 31
        ann = make("ann", f"hub {number}")
        await ann.join()
        await ann.leave()
        await store.mail(f"hub {number}")
        await world.relay.close()
    assert world.relay.outbox.accepted.now() == {}
    # Of this process's lives, all but the last have ended.
    assert len(store._processes) == 1
    calls = store.calls.count("reap")
    ann = make("ann")
    await ann.join()
    await ann.leave()
    await store.mail("lobby")
    await world.relay.close()
    assert store.calls.count("reap") == calls


async def test_who_comes_while_it_stops_is_served(make: Any, world: World) -> None:
    ann, bob = make("ann"), make("bob")
    await ann.join()
    await ann.leave()
    await bob.join()
    await world.relay.close()
    await world.relay.sender.broadcast(Entry("lobby", "hello"))
    await until(lambda: bob.line.frames == ["hello"])


async def test_a_store_that_goes_away_when_the_last_client_leaves_does_not_keep_it_running(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a worker of its own, which is to handle what is left."""
    monkeypatch.setattr(module, "_AWAY", 0.01)
    ann = await world.join("ann")
    waiting = world.store.waiting
    away = [Unavailable("gone"), Unavailable("gone")]

    async def gone() -> int:
        if away:
            raise away.pop()
        return await waiting()

    monkeypatch.setattr(world.store, "waiting", gone)
    await ann.leave()
    await world.relay.close()
    assert away == []
    assert not world.relay.is_running


async def test_a_thousand_idle_clients_take_no_task(make: Any, world: World, store: FaultyStore) -> None:
    store.limits = Limits()
    await make("first").join()
    await world.relay.idle()
    before = len(asyncio.all_tasks())
    await asyncio.gather(*(make(str(number)).join() for number in range(1000)))
    await world.relay.idle()
    assert len(asyncio.all_tasks()) == before


async def test_each_loop_has_its_own(world: World, make: Any) -> None:
    async def there() -> object:
        return get_relay()

    assert get_relay() is get_relay()
    assert await asyncio.to_thread(lambda: asyncio.run(there())) is not get_relay()


async def test_without_the_app_it_says_once_what_does_not_work(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    module._look_for_app.cache_clear()
    try:
        for _ in range(2):
            settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "django_hub"]
            settings.DJANGO_HUB = {"BATCH": 7}
            get_relay()
    finally:
        module._look_for_app.cache_clear()
    assert caplog.text.count("'django_hub' is not in INSTALLED_APPS") == 1
    assert "before 'channels'" in caplog.text


async def test_changed_settings_make_a_new_one(world: World, make: Any, settings: Any) -> None:
    before = get_relay()
    settings.DJANGO_HUB = {"STORE": "memory", "BEAT": 1.0}
    assert get_relay() is not before
    assert get_relay()._settings.BEAT == 1.0


async def test_what_the_last_clients_leave_behind_is_handled_before_it_stops(world: World) -> None:
    gate = asyncio.Event()

    async def hold(event: object) -> None:
        await gate.wait()

    world.desk.handler = hold
    ann = await world.open_member("ann")
    await ann.leave()
    await turns(50)
    assert world.events == []
    gate.set()
    await world.relay.close()
    assert world.told() == [("joined", "ann"), ("left", "ann", "close")]


async def test_who_comes_and_goes_while_it_stops_is_handled_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker takes its time to end; meanwhile a client comes, speaks and goes."""
    stopping, stopped, handling = asyncio.Event(), asyncio.Event(), asyncio.Event()
    run = apps.DeskEvents.__call__

    async def slow_to_end(self: Any, scope: Any, receive: Any, send: Any) -> None:
        try:
            await run(self, scope, receive, send)
        finally:
            if not stopping.is_set():
                stopping.set()
                await stopped.wait()

    async def hold(event: Event) -> None:
        if event.client_id == "bob":
            await handling.wait()

    monkeypatch.setattr(apps.DeskEvents, "__call__", slow_to_end)
    world.desk.handler = hold
    ann = await world.join("ann")
    await ann.leave()
    await stopping.wait()
    bob = await world.open_member("bob")
    for text in ("1", "2", "3"):
        bob.send_nowait(text)
    await bob.leave()
    stopped.set()
    await turns(20)
    handling.set()
    with contextlib.suppress(AssertionError):
        await until(lambda: ("left", "bob", "close") in world.told(), 3.0)
    assert world.told()[2:] == [
        ("joined", "bob"),
        ("message", "bob", "1"),
        ("message", "bob", "2"),
        ("message", "bob", "3"),
        ("left", "bob", "close"),
    ]


async def test_shutting_down_waits_no_longer_than_it_may(
    world: World, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DJANGO_HUB = {"SHUTDOWN_GRACE": 0.05}
    store = world.use_store(FaultyStore())

    async def hold(event: object) -> None:
        await asyncio.Event().wait()

    world.desk.handler = hold
    await world.open_member("ann")
    await world.relay.shut_down()
    assert "Not all was tidied up in SHUTDOWN_GRACE seconds" in caplog.text
    # Nothing of it runs on behind the server's back: the events wait for another worker.
    assert not world.relay.is_running
    assert await store.mail("lobby")


async def test_shutting_down_without_clients(world: World) -> None:
    await world.relay.shut_down()


async def test_nothing_it_does_runs_in_the_context_of_a_client(world: World) -> None:
    """A client's context variables (its request, its user) are nobody else's."""
    variable = contextvars.ContextVar("variable", default="nobody's")
    seen: list[str] = []

    async def look(event: object) -> None:
        seen.append(variable.get())

    world.desk.handler = look
    variable.set("ann's")
    ann = await world.join("ann")
    await hub_broadcast("lobby", "hello")
    assert await ann.receive() == "hello"
    assert seen == ["nobody's"]


async def test_a_loop_that_ends_does_not_take_the_events_of_this_one(world: World) -> None:
    """As in a view that blocks, whose `async_to_sync` has a loop of its own: it only rings."""
    ann = await world.join("ann")
    await until(lambda: world.told() == [("joined", "ann")])

    async def ring() -> None:
        get_relay().bells.ring([("lobby", apps.EVENTS)])
        await get_relay().bells.idle()

    for number in range(5):
        await asyncio.to_thread(lambda: asyncio.run(ring()))
        ann.send_nowait(str(number))
        await until(lambda number=number: world.told()[-1] == ("message", "ann", str(number)))  # type: ignore[misc]
