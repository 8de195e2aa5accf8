"""Around a handler: counted, timed, announced; and what it raises goes on."""

import asyncio
import contextlib
from typing import Any

import pytest

from django_hub.events import Event, Joined, Left, Message
from django_hub.handling import Handling
from django_hub.signals import client_joined, client_left, client_said, handler_failed
from django_hub.tallies import tallies
from tests.sockets import turns

COMMON: dict[str, Any] = {"hub": "h", "client_id": "ann", "user_id": None, "meta": {}, "id": 1, "at": 0.0}
JOINED = Joined(**COMMON)
SAID = Message(**COMMON, data="hi")


class Room:
    """The sender of the signals, and what was done in which order."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.error: BaseException | None = None
        self.failed: list[Event] = []
        self.handling = Handling(self.handle, self.fails, "some-events", Room)

    async def handle(self, event: Event) -> None:
        self.done.append(event)
        if self.error is not None:
            raise self.error

    async def fails(self, event: Event) -> None:
        self.failed.append(event)


@pytest.fixture
def room() -> Room:
    return Room()


@pytest.fixture
def connected() -> Any:
    """Connects receivers, for the test."""
    mine = []

    def connect(signal: Any, receiver: Any, sender: Any = None) -> None:
        signal.connect(receiver, sender=sender, weak=False)
        mine.append((signal, receiver, sender))

    yield connect
    for signal, receiver, sender in mine:
        signal.disconnect(receiver, sender=sender)


async def test_receivers_are_told_behind_the_handler_and_by_sender(room: Room, connected: Any) -> None:
    async def later(sender: Any, event: Event, **_: Any) -> None:
        await asyncio.sleep(0)
        room.done.append(("async", sender, event))

    def plain(sender: Any, event: Event, **_: Any) -> None:
        room.done.append(("plain", sender, event))

    connected(client_joined, later)
    connected(client_said, plain, Room)
    connected(client_said, later, int)
    await room.handling(JOINED)
    await room.handling(SAID)
    assert room.done == [JOINED, ("async", Room, JOINED), SAID, ("plain", Room, SAID)]


@pytest.mark.parametrize("error", [ValueError("bug"), asyncio.CancelledError()])
async def test_a_receiver_that_fails_costs_nothing(
    room: Room, connected: Any, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(**_: Any) -> None:
        raise error

    connected(client_joined, fail)
    await room.handling(JOINED)
    # Django 6 takes a receiver that was cancelled for one that has nothing to say.
    assert caplog.records or isinstance(error, asyncio.CancelledError)


async def test_a_handler_that_fails_is_counted_and_told(room: Room, connected: Any) -> None:
    told: list[Any] = []
    connected(client_said, lambda event, **_: told.append(event))
    connected(handler_failed, lambda event, error, **_: told.append((event, error)))
    room.error = ValueError("bug")
    before = tallies.failures["some-events", "message"]
    with pytest.raises(ValueError, match="bug"):
        await room.handling(SAID)
    assert told == [SAID, (SAID, room.error)]
    assert room.failed == [SAID]
    assert tallies.failures["some-events", "message"] == before + 1


async def test_a_worker_that_ends_is_no_failure_and_its_event_is_not_told_of(
    room: Room, connected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    connected(client_joined, lambda event, **_: told.append(event))
    monkeypatch.setattr(tallies, "handled", lambda *each: told.append(each))
    monkeypatch.setattr(room.handling, "_handle", lambda event: asyncio.sleep(60))
    before = tallies.failures.copy()
    task = asyncio.create_task(room.handling(JOINED))
    await turns()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert (told, room.failed, tallies.failures) == ([], [], before)


async def test_a_member_of_a_dead_server_is_counted_where_its_left_is_handled(room: Room) -> None:
    before = tallies.leaves.copy()
    await room.handling(Left(**COMMON, reason="lost"))
    await room.handling(Left(**COMMON, reason="close"))
    assert tallies.leaves - before == {"lost": 1}


@pytest.mark.parametrize("error", [None, ValueError("bug")])
async def test_its_time_and_the_events_age_are_told(
    room: Room, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(tallies, "handled", lambda *each: told.append(each))
    room.error = error
    with pytest.raises(ValueError, match="bug") if error else contextlib.nullcontext():
        await room.handling(SAID)
    ((channel, kind, waited, took),) = told
    assert (channel, kind) == ("some-events", "message")
    assert waited > 1e9
    assert 0 <= took < 5


def test_the_sender_need_not_be_named(connected: Any) -> None:
    assert not client_left.has_listeners(Room)
    connected(client_left, lambda **_: None)
    assert client_left.has_listeners(Room)
