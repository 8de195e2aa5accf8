"""Daphne's queue with a bound: what stops the reading, and what lets it go on."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from django_hub.wires import inbox
from django_hub.wires.base import Unfamiliar
from tests.sockets import turns


class Transport:
    reading = True

    def pauseProducing(self) -> None:  # noqa: N802
        assert self.reading
        self.reading = False

    def resumeProducing(self) -> None:  # noqa: N802
        assert not self.reading
        self.reading = True


class Protocol:
    """What of Daphne's protocol object is relied on."""

    STATE_CLOSING = 2
    STATE_OPEN = 3

    def __init__(self) -> None:
        self.state = self.STATE_OPEN
        self.transport = Transport()
        self.application_queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.receive = self.application_queue.get

    def send(self, *messages: str | bytes) -> None:
        for data in messages:
            kind = "text" if isinstance(data, str) else "bytes"
            self.application_queue.put_nowait({"type": "websocket.receive", kind: data})

    def disconnect(self) -> None:
        self.application_queue.put_nowait({"type": "websocket.disconnect", "code": 1000})

    async def take(self, count: int) -> list[Any]:
        messages = [await self.receive() for _ in range(count)]
        return [message.get("text", message.get("bytes", message.get("code"))) for message in messages]


@pytest.fixture
def protocol() -> Protocol:
    protocol = Protocol()
    inbox.install(protocol)
    return protocol


async def test_all_goes_through_in_its_order(protocol: Protocol) -> None:
    protocol.send("one", b"two", "")
    assert protocol.application_queue.qsize() == 3
    assert "two" in repr(protocol.application_queue)
    protocol.disconnect()
    assert await protocol.take(4) == ["one", b"two", "", 1000]
    assert protocol.application_queue.empty()
    with pytest.raises(asyncio.QueueEmpty):
        protocol.application_queue.get_nowait()
    with pytest.raises(IndexError):
        inbox.Inbox(protocol).popleft()


async def test_who_waits_gets_what_comes_later(protocol: Protocol) -> None:
    waiting = asyncio.create_task(protocol.receive())
    await turns()
    protocol.send("late")
    assert (await waiting)["text"] == "late"


async def test_when_too_many_wait_reading_stops_until_all_are_taken(protocol: Protocol) -> None:
    for _ in range(3):
        protocol.send(*["x"] * inbox._MESSAGES)
        assert protocol.transport.reading
        protocol.send("x", "x")  # as of one read
        assert not protocol.transport.reading
        await protocol.take(inbox._MESSAGES + 1)
        assert not protocol.transport.reading
        await protocol.take(1)
        assert protocol.transport.reading


async def test_too_many_bytes_as_well(protocol: Protocol) -> None:
    for data in ("x" * inbox._BYTES, b"x" * inbox._BYTES):
        protocol.send(data)
        assert protocol.transport.reading
        protocol.send(data)
        assert not protocol.transport.reading
        await protocol.take(2)
        assert protocol.transport.reading


async def test_after_a_close_the_answer_is_read_for_and_the_rest_dropped(protocol: Protocol) -> None:
    protocol.send(*["x"] * (inbox._MESSAGES + 1))
    waiting = inbox.find(protocol)
    assert waiting is not None
    protocol.state = protocol.STATE_CLOSING
    waiting.read_on()
    waiting.read_on()
    assert protocol.transport.reading
    protocol.send(*["x"] * 100)
    assert protocol.transport.reading
    assert len(waiting) == inbox._MESSAGES + 1
    protocol.disconnect()
    assert (await protocol.take(inbox._MESSAGES + 2))[-1] == 1000


async def test_one_that_drops_what_came_does_not_end_a_wait(protocol: Protocol) -> None:
    waiting = asyncio.create_task(protocol.receive())
    await turns()
    protocol.state = protocol.STATE_CLOSING
    protocol.send("dropped")
    await turns()
    assert not waiting.done()
    protocol.disconnect()
    assert (await waiting)["code"] == 1000


async def test_a_connection_that_is_lost_is_not_read_on(protocol: Protocol) -> None:
    protocol.send(*["x"] * (inbox._MESSAGES + 1))
    protocol.disconnect()
    await protocol.take(inbox._MESSAGES + 2)
    assert not protocol.transport.reading


async def test_it_holds_nothing_of_a_connection_that_is_lost() -> None:
    lost = Protocol()
    inbox.install(lost)
    lost.disconnect()
    gone = weakref.ref(lost)
    gc.disable()
    try:
        del lost
        assert gone() is None
    finally:
        gc.enable()


async def test_what_came_before_counts() -> None:
    protocol = Protocol()
    protocol.send(*["x"] * (inbox._MESSAGES + 1))
    inbox.install(protocol)
    assert not protocol.transport.reading
    assert len(await protocol.take(inbox._MESSAGES + 1)) == inbox._MESSAGES + 1


async def test_a_second_time_nothing_happens(protocol: Protocol) -> None:
    first = inbox.find(protocol)
    inbox.install(protocol)
    assert inbox.find(protocol) is first


async def test_a_queue_of_another_make_is_named() -> None:
    class Other(asyncio.Queue[Any]):
        """Not Daphne's."""

    protocol = Protocol()
    assert inbox.find(protocol) is None
    protocol.application_queue = Other()
    with pytest.raises(Unfamiliar, match=r"asyncio\.Queue as Protocol\.application_queue"):
        inbox.install(protocol)
    protocol.application_queue = asyncio.Queue()
    protocol.application_queue._queue = []  # type: ignore[attr-defined]
    with pytest.raises(Unfamiliar, match=r"asyncio\.Queue"):
        inbox.install(protocol)
