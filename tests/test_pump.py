"""The pump: parcels from the layer to the fan-out, past what is none and what fails."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from django_hub import pump as module
from django_hub.entries import Entry
from django_hub.fanout import Fanout
from django_hub.layers.base import Layer
from django_hub.parcels import pack
from django_hub.pump import PING, pump
from tests.apps import FaultyLayer, Line, make_connection
from tests.apps import world as world
from tests.sockets import turns, until

US = "specific.us!1"


class Hall:
    """A pump that runs, for one client."""

    def __init__(self) -> None:
        self.layer = FaultyLayer()
        self.fanout = Fanout()
        self.line = Line()
        self.heard_something: list[float | None] = []
        self.fanout.add(make_connection("ann", "lobby", self.line))

    def start(self) -> None:
        self.task = asyncio.create_task(pump(Layer(self.layer), US, self.fanout, self.hear))

    def hear(self, asked: float | None) -> None:
        self.heard_something.append(asked)

    async def send(self, *frames: str) -> None:
        await self.layer.send(US, pack([Entry("lobby", frame) for frame in frames]))

    async def heard(self, *frames: str) -> None:
        await until(lambda: len(self.line.frames) >= len(frames))
        assert self.line.frames == list(frames)


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    hall = Hall()
    hall.start()
    yield hall
    hall.task.cancel()
    await asyncio.wait([hall.task])


async def test_parcels_reach_the_clients_in_order(hall: Hall) -> None:
    await hall.send("1", "2")
    await hall.send("3")
    await hall.heard("1", "2", "3")


async def test_a_parcel_that_comes_again_is_dropped(hall: Hall) -> None:
    """Its sender could not hear that it had come."""
    for frame, number in (("1", "a.1"), ("1", "a.1"), ("2", "b.1"), ("3", ""), ("3", ""), ("1", "a.1")):
        await hall.layer.send(US, pack([Entry("lobby", frame)], number))
    await hall.send("end")
    await hall.heard("1", "2", "3", "3", "end")


async def test_numbers_are_remembered_for_a_while_only(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 2)
    for number in ("1", "2", "3", "3", "1"):
        await hall.layer.send(US, pack([Entry("lobby", number)], number))
    await hall.send("end")
    await hall.heard("1", "2", "3", "1", "end")


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "chat.message"},
        {"type": "hub.parcel"},
        {"type": "hub.parcel", "entries": 5},
        {"type": "hub.parcel", "entries": [["lobby"]]},
        {"type": "hub.parcel", "entries": [["lobby", 99, [], "x"]]},
        {"type": "hub.parcel", "entries": [["lobby", 0, [], 5]]},
        {"type": "hub.parcel", "entries": [["lobby", 0, 7, "x"]]},
    ],
    ids=["empty", "another type", "no entries", "no list", "short", "no scope", "no frame", "no ids"],
)
async def test_what_is_no_parcel_is_dropped(
    hall: Hall, message: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    await hall.layer.send(US, message)
    await hall.send("next")
    await hall.heard("next")
    assert "no parcel was dropped" in caplog.text


async def test_all_that_comes_is_heard_and_a_ping_is_no_more_than_that(
    hall: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    await hall.layer.send(US, {"type": PING, "at": 5.0})
    await hall.layer.send(US, {"type": PING, "at": "noon"})
    await hall.send("next")
    await hall.heard("next")
    assert hall.heard_something == [5.0, None, None]
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("error", "words"), [(ConnectionError, "Nothing comes"), (KeyError, "gave nothing")]
)
async def test_a_layer_that_fails_is_tried_again(
    error: type[Exception], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    hall = Hall()
    hall.layer.error = error
    hall.layer.fail = {"receive": 2}
    hall.start()
    await hall.send("one")
    await hall.heard("one")
    hall.task.cancel()
    await asyncio.wait([hall.task])
    assert caplog.text.count(words) == 2


async def test_it_takes_nothing_while_there_is_no_room() -> None:
    hall = Hall()
    room = asyncio.Event()
    hall.fanout.room = room.wait  # type: ignore[method-assign, assignment]
    hall.start()
    await hall.send("one")
    await turns()
    assert hall.layer.calls == [("send", US)]
    room.set()
    await hall.heard("one")
    hall.task.cancel()
    await asyncio.wait([hall.task])
