"""Questions to relays, and answers: of real relays, of silent ones, and what is no answer at all."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from django_hub import answers as answers_module
from django_hub import questions as questions_module
from django_hub.answers import ANSWER, ASK, MOST, fits
from django_hub.exceptions import Unavailable
from django_hub.layers.base import ChannelFull, Layer
from django_hub.layers.choice import get_layer
from django_hub.questions import Questions
from tests.apps import World
from tests.apps import world as world
from tests.sockets import until

# Handlers look after the database's connections.
pytestmark = pytest.mark.django_db(transaction=True)

HUBS = ["hubs", ["lobby"], False]


@pytest.fixture
def layer(world: World, monkeypatch: pytest.MonkeyPatch) -> Layer:
    monkeypatch.setattr(questions_module, "_PATIENCE", 0.05)
    return get_layer()


@pytest.fixture
async def questions(layer: Layer) -> AsyncIterator[Questions]:
    async with Questions(layer) as questions:
        yield questions


class Peer:
    """A server's channel, whose answers the test writes."""

    def __init__(self, layer: Layer, channel: str) -> None:
        self.layer = layer
        self.channel = channel

    async def asked(self) -> dict[str, Any]:
        return await self.layer.receive(self.channel)

    async def say(self, question: dict[str, Any], **reply: Any) -> None:
        await self.layer.send(question["to"], {"type": ANSWER, "number": question["number"], **reply})


@pytest.fixture
async def peer(layer: Layer) -> AsyncIterator[Peer]:
    channel = await layer.new_channel()
    yield Peer(layer, channel)
    await layer.stop(channel)


def answer(count: int) -> str:
    return json.dumps({"messages": count, "of": [count], "largest": []})


# Real relays


async def test_a_relay_answers(world: World, questions: Questions) -> None:
    socket = await world.open_member("ann")
    (process,) = await world.store.processes(10)
    first = await questions.ask({process: HUBS})
    assert first[process] == {"messages": 0, "of": [0], "largest": []}
    socket.send_nowait("one")
    socket.send_nowait("two")
    await until(lambda: len(world.events) == 3)
    second = await questions.ask({process: ["hubs", ["lobby", "nowhere"], True]})
    assert (second[process]["messages"], second[process]["of"]) == (2, [2, 0])
    assert second[process]["largest"] == ["lobby"]
    ann = (await world.store.member("lobby", "ann")).connection
    clients = await questions.ask({process: ["clients", "lobby", [ann, "bob"]]})
    assert clients[process] == [["", 0, 0, 0], None]
    world.relay.answers.stop_counting()
    assert world.relay.clients.counted is None


async def test_nobody_counts_when_nobody_asks_any_more(
    world: World, questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_module, "_COUNTED", 0.01)
    await world.open_member("ann")
    (process,) = await world.store.processes(10)
    await questions.ask({process: HUBS})
    await questions.ask({process: HUBS})
    await until(lambda: world.relay.clients.counted is None)


async def test_who_pages_through_a_large_site_fills_no_memory(world: World, questions: Questions) -> None:
    await world.open_member("ann")
    (process,) = await world.store.processes(10)
    for page in range(23):
        await questions.ask({process: ["hubs", [f"h{page}.{at}" for at in range(MOST)], False]})
    assert world.relay.clients.counted is not None
    assert len(world.relay.clients.counted) <= 21 * MOST + 1


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"question": "{"},
        {"question": 1},
        {"question": '["when"]', "number": "1", "to": "x"},
        {"question": json.dumps(HUBS)},
    ],
)
async def test_what_is_no_question_is_dropped(
    world: World, caplog: pytest.LogCaptureFixture, message: dict[str, Any]
) -> None:
    await world.open_member("ann")
    world.relay.answers.take({"type": ASK, **message})
    await world.relay.answers.idle()
    assert "can't be read was dropped" in caplog.text


@pytest.mark.parametrize("error", [Unavailable("no broker"), ChannelFull("full")])
async def test_an_answer_that_does_not_get_away_is_told(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def send(*_: Any) -> None:
        raise error

    caplog.set_level(logging.INFO)
    await world.open_member("ann")
    monkeypatch.setattr(get_layer(), "send", send)
    world.relay.answers.take({"number": "1", "to": "x", "question": json.dumps(HUBS)})
    await world.relay.answers.idle()
    assert "was not answered" in caplog.text
    monkeypatch.undo()


async def test_too_many_questions_at_once_are_dropped(world: World) -> None:
    await world.open_member("ann")
    answers = world.relay.answers
    for number in range(20):
        answers.take({"number": str(number), "to": "x", "question": json.dumps(HUBS)})
    assert len(answers._tasks) == answers_module._AT_ONCE
    await answers.idle()


async def test_the_largest_hubs_of_many(
    world: World, questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_module, "_SLICE", 7)
    for number in range(60):
        await world.open_member("ann", f"h{number:02}")
    for hub in ("h05", "h33", "h59"):
        await world.open_member("bob", hub)
    await world.open_member("eve", "h33")
    (process,) = await world.store.processes(10)
    largest = (await questions.ask({process: ["hubs", [], True]}))[process]["largest"]
    assert (largest[0], set(largest[1:3]), len(set(largest))) == ("h33", {"h05", "h59"}, MOST // 2)


# Others


async def test_who_does_not_answer_is_left_out_and_not_asked_for_a_while(
    questions: Questions, peer: Peer
) -> None:
    assert await questions.ask({peer.channel: HUBS}) == {}
    late = await peer.asked()
    for _ in range(30):
        assert await questions.ask({peer.channel: HUBS}) == {}
    questions._silent[peer.channel] -= questions_module._SKIPPED
    asking = asyncio.create_task(questions.ask({peer.channel: HUBS}))
    question = await peer.asked()
    assert question["number"] != late["number"]
    await peer.say(late, answer=answer(1))
    await peer.say(question, answer=answer(2))
    assert (await asking)[peer.channel]["messages"] == 2


async def test_an_answer_to_nobody_is_dropped(questions: Questions, layer: Layer, peer: Peer) -> None:
    await layer.send(questions._channel, {"type": ANSWER, "number": "99", "answer": "1"})
    await layer.send(questions._channel, {"type": "another", "number": "1"})
    asking = asyncio.create_task(questions.ask({peer.channel: HUBS}))
    await peer.say(await peer.asked(), answer=answer(1))
    assert (await asking)[peer.channel]["messages"] == 1


@pytest.mark.parametrize("reply", [{}, {"answer": "{"}, {"answer": 3}, {"answer": "[" * 100_000}])
async def test_an_answer_that_cannot_be_read_ends_nothing(
    questions: Questions, peer: Peer, caplog: pytest.LogCaptureFixture, reply: dict[str, Any]
) -> None:
    asking = asyncio.create_task(questions.ask({peer.channel: HUBS}))
    await peer.say(await peer.asked(), **reply)
    assert await asking == {}
    assert "can't be read" in caplog.text
    questions._silent.clear()
    asking = asyncio.create_task(questions.ask({peer.channel: HUBS}))
    await peer.say(await peer.asked(), answer=answer(1))
    assert (await asking)[peer.channel]["of"] == [1]


async def test_an_answer_of_another_version_is_left_out(questions: Questions, peer: Peer) -> None:
    asking = asyncio.create_task(questions.ask({peer.channel: HUBS}))
    await peer.say(await peer.asked(), answer='{"messages": 1}')
    assert await asking == {}


@pytest.fixture
def full(layer: Layer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(*_: Any) -> None:
        raise ChannelFull

    monkeypatch.setattr(layer, "send", send)


async def test_a_full_channel_is_as_silent(questions: Questions, full: None) -> None:
    assert await questions.ask({"x": HUBS}) == {}
    assert await questions.ask({}) == {}


async def test_the_silent_are_not_remembered_without_end(questions: Questions, full: None) -> None:
    await questions.ask({f"x{number}": HUBS for number in range(1100)})
    assert len(questions._silent) == 1000


async def test_a_broker_that_is_gone_for_a_while(
    layer: Layer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: Any) -> Any:
        raise Unavailable("no broker")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(layer, "receive", gone)
    monkeypatch.setattr(layer, "stop", gone)
    async with Questions(layer):
        await until(lambda: "No answers come, for now" in caplog.text)
    assert "no broker" in caplog.text


@pytest.mark.parametrize(
    ("question", "answer", "fitting"),
    [
        (HUBS, {"messages": 1, "of": [1], "largest": ["a"]}, True),
        (HUBS, {"messages": 1, "of": [1, 2], "largest": []}, False),
        (HUBS, {"messages": 1, "of": ["1"], "largest": []}, False),
        (HUBS, {"messages": 1, "of": [1], "largest": [None]}, False),
        (HUBS, [], False),
        (["clients", "lobby", ["a", "b"]], [None, ["", 1, 2, 3]], True),
        (["clients", "lobby", ["a"]], [["", 1]], False),
        (["clients", "lobby", ["a"]], [], False),
        (["clients", "lobby", ["a"]], None, False),
    ],
)
def test_an_answer_fits_its_question(question: list[Any], answer: object, fitting: bool) -> None:
    assert fits(question, answer) is fitting
