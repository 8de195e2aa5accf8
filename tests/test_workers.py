"""HubEvents: its hooks, other messages on its channel, and what is wrong with a worker beside memory."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.exceptions import StopConsumer

from django_hub import workers as module
from django_hub.bells import WAKE
from django_hub.departures import Departure
from django_hub.events import Event, Joined, Left, Lost, Message, Resumed, Updated
from django_hub.listener import EMBEDDED, GRACE
from django_hub.workers import HubEvents
from tests.apps import EVENTS, World, make_connection
from tests.apps import world as world
from tests.sockets import turns, until


class Noting(HubEvents):
    """Notes what its methods get."""

    def __init__(self) -> None:
        self.noted: list[tuple[str, Any]] = []
        self.gate: asyncio.Event | None = None
        self.slow: asyncio.Event | None = None

    async def hub_joined(self, event: Joined) -> None:
        self.noted.append(("joined", event.client_id))

    async def hub_message(self, event: Message) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if event.data == "fail":
            raise ValueError("asked to")
        self.noted.append(("message", event.data))

    async def hub_left(self, event: Left) -> None:
        self.noted.append(("left", event.reason))

    async def shop_open(self, message: dict[str, Any]) -> None:
        if self.slow is not None:
            await self.slow.wait()
        self.noted.append(("open", message["at"]))

    async def shop_fail(self, message: dict[str, Any]) -> None:
        raise ValueError("asked to")


class Worker:
    """One object of a consumer, running, with a queue in the place of its channel."""

    def __init__(self, consumer: Any, **scope: Any) -> None:
        self.consumer = consumer
        self.queue: asyncio.Queue[Any] = asyncio.Queue()
        scope = {"type": "channel", "channel": EVENTS, EMBEDDED: True, **scope}
        self.task = asyncio.create_task(consumer(scope, self.receive, None))

    async def receive(self) -> dict[str, Any]:
        message = await self.queue.get()
        if isinstance(message, Exception):
            raise message
        return message

    def tell(self, *messages: Any) -> None:
        for message in messages:
            self.queue.put_nowait(message)

    async def noted(self, *expected: tuple[str, Any]) -> None:
        await until(lambda: len(self.consumer.noted) >= len(expected))
        assert self.consumer.noted == list(expected)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


@pytest.fixture(autouse=True)
def beside(world: World, settings: Any) -> None:
    """The workers here are the tests' own."""
    settings.DJANGO_HUB = {"EMBEDDED_WORKER": False}


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker(Noting())
    yield worker
    await worker.stop()


@pytest.fixture
async def mail(world: World) -> Any:
    """Puts messages into the hub "lobby"; its member leaves with the test."""
    ann = make_connection("ann")

    async def post(*texts: str) -> None:
        for text in texts:
            op = ann.post_op(ann.number(None), text)
            await world.store.apply([op])

    await world.store.apply([ann.join_op("p")])
    return post


WAKE_LOBBY = {"type": WAKE, "hubs": ["lobby"]}


async def leave(world: World) -> None:
    member = await world.store.member("lobby", "ann")
    ann = make_connection("ann")
    ann.id, ann.process = member.connection, member.process
    await world.store.apply([ann.leave_op(Departure(reason="close"), [])])


async def test_each_kind_of_event_has_its_method(world: World, worker: Worker, mail: Any) -> None:
    await mail("hi")
    await leave(world)
    worker.tell(WAKE_LOBBY)
    await worker.noted(("joined", "ann"), ("message", "hi"), ("left", "close"))
    await until(lambda: done(world))


async def done(world: World) -> bool:
    return not await world.store.waiting()


async def test_all_hooks_may_be_left_out(world: World, mail: Any) -> None:
    worker = Worker(HubEvents())
    await mail("hi")
    await leave(world)
    worker.tell(WAKE_LOBBY)
    await until(lambda: done(world))
    assert await world.store.dead_letters("lobby") == []
    await worker.stop()


async def test_a_handler_that_fails_leaves_a_dead_letter_and_the_next_follows(
    world: World, worker: Worker, mail: Any
) -> None:
    await mail("fail", "next")
    await leave(world)
    worker.tell(WAKE_LOBBY)
    await worker.noted(("joined", "ann"), ("message", "next"), ("left", "close"))
    await until(lambda: done(world))
    (letter,) = await world.store.dead_letters("lobby")
    assert letter.error == "ValueError: asked to"


async def test_asyncios_debug_mode_names_the_hub_whose_handler_blocks(
    world: World, mail: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Blocking(HubEvents):
        async def hub_message(self, event: Message) -> None:
            time.sleep(0.15)  # noqa: ASYNC251 (what it is about)

    asyncio.get_running_loop().set_debug(True)
    worker = Worker(Blocking())
    await mail("hi")
    worker.tell(WAKE_LOBBY)
    await until(lambda: "hub lobby" in caplog.text)
    (told,) = [record.getMessage() for record in caplog.records if "hub lobby" in record.getMessage()]
    assert re.search(r"Executing <Task .*name='hub lobby'.* took 0\.\d+ seconds", told)
    await leave(world)
    worker.tell(WAKE_LOBBY)
    await until(lambda: done(world))
    await worker.stop()


async def test_handle_can_be_wrapped_around_every_event(world: World, mail: Any) -> None:
    class Around(Noting):
        async def handle(self, event: Event) -> None:
            self.noted.append(("before", event.client_id))
            await super().handle(event)

    worker = Worker(Around())
    await leave(world)
    worker.tell(WAKE_LOBBY)
    await worker.noted(("before", "ann"), ("joined", "ann"), ("before", "ann"), ("left", "close"))
    await until(lambda: done(world))
    await worker.stop()


async def test_other_messages_go_to_the_method_of_their_type_in_order(worker: Worker) -> None:
    worker.tell(*({"type": "shop.open", "at": number} for number in range(5)))
    await worker.noted(*(("open", number) for number in range(5)))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"type": "shop.fail"}, "asked to"),
        ({"type": "shop.unknown"}, "Noting has no handler for it"),
        ({"type": "_private"}, "leading underscore"),
        ({"at": 5}, "no 'type' attribute"),
        ({"type": "shop.fail", "hubs": 5}, "asked to"),
        ({"type": WAKE}, "hub.wake"),
        ({"type": WAKE, "hubs": None}, "hub.wake"),
    ],
    ids=["fails", "unknown", "private", "no type", "more", "wake of nothing", "wake of none"],
)
async def test_a_bad_message_is_logged_and_the_next_goes_on(
    worker: Worker, bad: dict[str, Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker.tell(bad, {"type": "shop.open", "at": 8})
    await until(lambda: worker.consumer.noted or worker.task.done())
    assert worker.consumer.noted == [("open", 8)]
    assert words in caplog.text


async def test_other_messages_do_not_wait_for_a_slow_hub(world: World, worker: Worker, mail: Any) -> None:
    gate = worker.consumer.gate = asyncio.Event()
    await mail("slow")
    await leave(world)
    worker.tell(WAKE_LOBBY, {"type": "shop.open", "at": 8})
    await until(lambda: ("open", 8) in worker.consumer.noted)
    assert ("message", "slow") not in worker.consumer.noted
    gate.set()
    await until(lambda: done(world))


async def test_too_many_other_messages_are_dropped_and_said_so(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_OTHERS", 3)
    worker.tell(*({"type": "shop.open", "at": number} for number in range(10)))
    await until(lambda: "Too many messages wait: one of type 'shop.open' is dropped" in caplog.text)
    await until(lambda: worker.queue.empty() and ("open", 2) in worker.consumer.noted)
    assert worker.consumer.noted[:3] == [("open", number) for number in range(3)]


async def test_it_ends_when_its_server_says_so(worker: Worker) -> None:
    worker.tell(StopConsumer())
    await until(lambda: worker.task.done())
    assert worker.task.exception() is None


async def test_stopped_it_finishes_the_event_in_hand_and_gives_the_rest_back(
    world: World, worker: Worker, mail: Any
) -> None:
    gate = worker.consumer.gate = asyncio.Event()
    await mail("in hand", "rest")
    worker.tell(WAKE_LOBBY)
    await until(lambda: ("joined", "ann") in worker.consumer.noted)
    worker.task.cancel()
    gate.set()
    await asyncio.wait([worker.task])
    assert worker.consumer.noted == [("joined", "ann"), ("message", "in hand")]
    other = Worker(Noting())
    await leave(world)
    other.tell(WAKE_LOBBY)
    await other.noted(("message", "rest"), ("left", "close"))
    await until(lambda: done(world))
    await other.stop()


async def test_stopped_it_finishes_the_other_messages_it_has_taken(worker: Worker) -> None:
    slow = worker.consumer.slow = asyncio.Event()
    worker.tell(*({"type": "shop.open", "at": number} for number in range(4)))
    await until(worker.queue.empty)
    worker.task.cancel()
    await turns()
    assert not worker.task.done()
    slow.set()
    await asyncio.wait([worker.task])
    assert worker.consumer.noted == [("open", number) for number in range(4)]


async def test_other_messages_that_take_too_long_at_its_end_are_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker(Noting(), **{GRACE: 0.01})
    slow = worker.consumer.slow = asyncio.Event()
    worker.tell(*({"type": "shop.open", "at": number} for number in range(4)))
    await until(worker.queue.empty)
    await worker.stop()
    assert "3 other messages on the channel were not begun in time" in caplog.text
    slow.set()
    await until(lambda: len(worker.consumer.noted) == 4)


async def test_a_worker_beside_an_in_memory_layer_warns(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(Noting(), **{EMBEDDED: False})
    await until(lambda: "in-memory channel layer reaches its own process only" in caplog.text)
    await worker.stop()


async def test_the_embedded_one_does_not(worker: Worker, caplog: pytest.LogCaptureFixture) -> None:
    worker.tell({"type": "shop.open", "at": 1})
    await worker.noted(("open", 1))
    assert caplog.text == ""


@pytest.mark.parametrize("name", sorted([*module._HANDLERS.values(), "handle"]))
def test_a_hook_that_is_not_async_is_refused_at_once(name: str) -> None:
    with pytest.raises(TypeError, match=rf"Bad\.{name} must be 'async def'"):
        type("Bad", (HubEvents,), {name: lambda self, event: None})


def test_every_event_has_a_method() -> None:
    assert set(module._HANDLERS) == {Joined, Message, Left, Lost, Resumed, Updated}
