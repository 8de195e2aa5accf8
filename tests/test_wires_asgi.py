"""The wire for any server: order, waiting, breaking, giving up."""

import asyncio
import contextlib
import contextvars
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hub.messages import Close
from django_hub.wires import asgi as module
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Outgoing
from tests.apps import Line
from tests.apps import world as world
from tests.sockets import turns, until


@pytest.fixture
def line() -> Line:
    return Line()


def write(wire: AsgiWire, *frames: Any) -> list[bool]:
    return [wire.write(Outgoing(frame)) for frame in frames]


def others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def test_frames_as_asgi_messages(line: Line) -> None:
    wire = AsgiWire(line)
    assert write(wire, "text", b"bytes", "", b"", Close(4001, "why")) == [True] * 5
    assert line.sent == [
        {"type": "websocket.send", "text": "text"},
        {"type": "websocket.send", "bytes": b"bytes"},
        {"type": "websocket.send", "text": ""},
        {"type": "websocket.send", "bytes": b""},
        {"type": "websocket.close", "code": 4001, "reason": "why"},
    ]


async def test_a_send_that_does_not_wait_takes_no_task(line: Line) -> None:
    wire = AsgiWire(line)
    before = others()
    write(wire, "one", "two")
    assert line.frames == ["one", "two"]
    assert others() == before
    assert (wire.waiting_frames, wire.waiting_bytes) == (0, 0)


async def test_what_waits_is_counted(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    frames = ("one", b"three", Close(1000, "bye"))
    assert write(wire, *frames) == [True] * 3
    assert wire.waiting_frames == 3
    assert wire.waiting_bytes == sum(Outgoing(frame).size for frame in frames)
    line.taking.set()
    await until(lambda: wire.waiting_frames == 0)
    assert wire.waiting_bytes == 0


async def test_what_waited_goes_in_order_and_its_task_ends(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    before = others()
    write(wire, "one", "two", "three")
    assert len(others() - before) == 1
    assert line.sent == []
    line.taking.set()
    await until(lambda: len(line.sent) == 3)
    write(wire, "four")
    assert line.frames == ["one", "two", "three", "four"]
    await until(lambda: others() == before)


async def test_a_send_that_only_gives_way(line: Line) -> None:
    async def send(message: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        await line(message)

    wire = AsgiWire(send)
    write(wire, "one", "two")
    await until(lambda: wire.waiting_frames == 0)
    assert line.frames == ["one", "two"]


async def test_after_a_close_nothing_is_written(line: Line) -> None:
    wire = AsgiWire(line)
    assert not wire.closed
    assert write(wire, "one", Close(4000), "two", Close(4001)) == [True, True, False, False]
    assert wire.closed
    assert line.frames == ["one", 4000]


async def test_a_close_waits_behind_what_waits(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    assert write(wire, "one", "two", Close(4000), "late") == [True, True, True, False]
    line.taking.set()
    await until(lambda: wire.waiting_frames == 0)
    assert line.frames == ["one", "two", 4000]


async def test_a_send_that_raises_breaks_the_wire_once(line: Line) -> None:
    wire = AsgiWire(line)
    errors: list[BaseException] = []
    wire.broken = errors.append
    line.broken = OSError("gone")
    assert write(wire, "one", "two", Close(4000)) == [False] * 3
    assert errors == [line.broken]
    assert wire.closed
    assert not wire.closed_by_us


async def test_a_broken_wire_keeps_what_comes_until_it_is_abandoned(line: Line) -> None:
    wire = AsgiWire(line)
    line.broken = OSError("gone")
    write(wire, "one", "two", "three")
    assert wire.abandon() == ["one", "two", "three"]
    assert write(wire, "four") == [False]
    assert wire.abandon() == []


async def test_a_wait_that_ends_in_an_error(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    errors: list[BaseException] = []
    wire.broken = errors.append
    write(wire, "one", "two")
    line.broken = OSError("gone")
    line.taking.set()
    await until(lambda: errors)
    assert errors == [line.broken]
    assert write(wire, "three") == [False]
    assert wire.abandon() == ["one", "two", "three"]
    assert wire.waiting_bytes == 0


async def test_an_error_behind_one_that_went(line: Line) -> None:
    async def send(message: dict[str, Any]) -> None:
        await line(message)
        line.broken = OSError("gone after one")

    line.taking.clear()
    wire = AsgiWire(send)
    errors: list[BaseException] = []
    wire.broken = errors.append
    write(wire, "one", "two", "three")
    line.taking.set()
    await until(lambda: errors)
    assert line.frames == ["one"]
    assert wire.abandon() == ["two", "three"]


async def test_a_wire_without_an_owner_breaks_in_silence(line: Line) -> None:
    wire = AsgiWire(line)
    line.broken = OSError("gone")
    assert write(wire, "one") == [False]


async def test_giving_up_returns_what_waits(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    write(wire, "one", b"two", "three")
    await turns()
    assert wire.abandon() == ["one", b"two", "three"]
    await until(lambda: line.given_up == 1)
    assert (wire.waiting_frames, wire.waiting_bytes) == (0, 0)
    line.taking.set()
    await turns()
    assert line.sent == []


async def test_a_send_may_tidy_up_when_it_is_given_up() -> None:
    """One that must wait for its tidying, and one that takes the end for its own."""
    tidied: list[str] = []

    async def send(message: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            tidied.append(message["text"])
            if message["text"] == "raises":
                raise

    async def send_at_once(message: dict[str, Any]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        tidied.append("at once")

    for text in ("raises", "returns"):
        wire = AsgiWire(send)
        write(wire, text)
        await turns()
        wire.abandon()
        await until(lambda text=text: text in tidied)
    wire = AsgiWire(send_at_once)
    write(wire, "one")
    await turns()
    wire.abandon()
    await until(lambda: "at once" in tidied)


async def test_a_send_runs_in_the_context_of_its_client(line: Line) -> None:
    variable = contextvars.ContextVar("variable", default="nobody")
    seen: list[str] = []

    async def send(message: dict[str, Any]) -> None:
        seen.append(variable.get())
        await line(message)
        seen.append(variable.get())

    variable.set("ann")
    wire = AsgiWire(send)
    variable.set("bob")
    line.taking.clear()
    write(wire, "one", "two")
    line.taking.set()
    await wire.drained()
    assert seen == ["ann"] * 4


async def test_a_send_that_was_cancelled_is_a_broken_one() -> None:
    async def send(message: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    wire = AsgiWire(send)
    errors: list[BaseException] = []
    wire.broken = errors.append
    assert write(wire, "one") == [False]
    assert isinstance(errors[0], asyncio.CancelledError)


async def test_a_close_that_waits_is_not_given_up(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    write(wire, "one", "two", Close(4000))
    assert wire.abandon() == ["one", "two"]
    assert wire.closed
    line.taking.set()
    await wire.drained()
    assert line.frames == [4000]


async def test_a_close_under_way_is_not_given_up(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    write(wire, Close(4000))
    assert wire.abandon() == []
    line.taking.set()
    await wire.drained()
    assert line.frames == [4000]


async def test_a_broken_wire_stays_so_when_it_is_given_up_with_a_close(line: Line) -> None:
    wire = AsgiWire(line)
    errors: list[BaseException] = []
    wire.broken = errors.append
    line.broken = OSError("gone")
    write(wire, "one", Close(4000))
    assert wire.abandon() == ["one"]
    assert errors == [line.broken]
    assert wire.waiting_frames == 0


async def test_drained_waits_for_what_waits(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    await wire.drained()
    write(wire, "one")
    waiter = asyncio.create_task(wire.drained())
    await turns()
    assert not waiter.done()
    line.taking.set()
    await waiter
    assert line.frames == ["one"]


async def test_giving_up_before_the_task_had_a_turn(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    write(wire, "one", "two")
    assert wire.abandon() == ["one", "two"]
    line.taking.set()
    await turns()
    assert line.sent == []


async def test_a_close_goes_out_after_giving_up(line: Line) -> None:
    line.taking.clear()
    wire = AsgiWire(line)
    write(wire, "one")
    wire.abandon()
    line.taking.set()
    assert write(wire, Close(4008)) == [True]
    await until(lambda: line.sent)
    assert line.frames == [4008]


async def test_giving_up_with_nothing_waiting(line: Line) -> None:
    assert AsgiWire(line).abandon() == []


async def test_a_send_that_is_no_coroutine(line: Line) -> None:
    """As of a server in another language: its awaitable has the steps of an iterator, and no more."""

    class Steps:
        def __init__(self, message: dict[str, Any], waits: int) -> None:
            self.message, self.waits = message, waits

        def __await__(self) -> Any:
            return self

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> None:
            if not self.waits:
                line.sent.append(self.message)
                raise StopIteration
            self.waits -= 1

    wire = AsgiWire(lambda message: Steps(message, len(message["text"]) - 3))
    assert write(wire, "one", "three", "four") == [True] * 3
    await wire.drained()
    assert line.frames == ["one", "three", "four"]
    write(wire, "x" * 1_000)
    await turns(2)
    assert wire.abandon() == ["x" * 1_000]
    await turns(2)
    assert line.frames == ["one", "three", "four"]


@given(waits=st.lists(st.integers(0, 3), max_size=12), pauses=st.lists(st.integers(0, 3), max_size=12))
def test_frames_leave_in_the_order_of_write_however_long_each_send_waits(
    waits: list[int], pauses: list[int]
) -> None:
    """Any send may wait any number of rounds, and any number of rounds may pass between writes."""

    async def run() -> list[str]:
        sent: list[str] = []
        left = iter(waits)

        async def send(message: dict[str, Any]) -> None:
            await turns(next(left))
            sent.append(message["text"])

        wire = AsgiWire(send)
        for number in range(len(waits)):
            write(wire, str(number))
            await turns(pauses[number] if number < len(pauses) else 0)
        await until(lambda: wire.waiting_frames == 0)
        return sent

    assert asyncio.run(run()) == [str(number) for number in range(len(waits))]


async def test_a_later_send_that_was_cancelled_is_a_broken_one(line: Line) -> None:
    async def send(message: dict[str, Any]) -> None:
        await line(message)
        if message["text"] == "two":
            await asyncio.sleep(0)
            raise asyncio.CancelledError

    line.taking.clear()
    wire = AsgiWire(send)
    errors: list[BaseException] = []
    wire.broken = errors.append
    write(wire, "one", "two", "three")
    line.taking.set()
    await asyncio.wait_for(wire.drained(), 5)
    assert [type(error) for error in errors] == [asyncio.CancelledError]
    assert wire.abandon() == ["two", "three"]


async def test_one_that_goes_on_though_it_was_given_up_does_not_disturb_the_close() -> None:
    sent: list[Any] = []
    gate = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        while not gate.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await gate.wait()
        sent.append(message.get("text", message.get("code")))

    wire = AsgiWire(send)
    write(wire, "one", "two")
    await turns()
    assert wire.abandon() == ["one", "two"]
    assert write(wire, Close(4008)) == [True]
    gate.set()
    await asyncio.wait_for(wire.drained(), 5)
    await turns()
    assert sent == ["one", 4008]  # the first was with the server


async def test_given_up_it_writes_nothing_but_a_close(line: Line) -> None:
    wire = AsgiWire(line)
    assert wire.abandon() == []
    AsgiWire.write_to_all([wire], Outgoing("late"))
    assert write(wire, "late", Close(4000)) == [False, True]
    assert line.frames == [4000]


async def test_a_broken_wire_keeps_the_newest_of_what_comes(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    wire = AsgiWire(line)
    line.broken = OSError("gone")
    write(wire, "first", *(f"{number:05}" for number in range(10)))
    assert wire.abandon() == ["first", "00008", "00009"]
