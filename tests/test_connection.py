"""A connection: its bounds, its way out, and the ops that tell the store of it."""

import json
import weakref
from typing import Any

import pytest

from django_hub import connection as module
from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.events import read_body
from django_hub.taking import Posting
from django_hub.wires.base import Outgoing
from django_hub.wires.held import HeldWire
from tests.apps import EVENTS, Line, make_connection, tell
from tests.apps import world as world


@pytest.fixture
def line() -> Line:
    return Line()


class Ends:
    """Notes what ended connections."""

    def __init__(self, connection: Connection) -> None:
        self.departures: list[Departure] = []
        connection.ended = lambda _, departure: self.departures.append(departure)


def write(connection: Connection, *frames: Any) -> list[bool]:
    return [connection.write(Outgoing(frame)) for frame in frames]


async def test_frames_go_out(line: Line) -> None:
    connection = make_connection(line=line)
    assert write(connection, "one", b"two") == [True, True]
    assert line.frames == ["one", b"two"]


async def test_a_close_goes_out_once(line: Line) -> None:
    connection = make_connection(line=line)
    assert connection.close(4000, "why") is True
    assert connection.close(4001) is False
    assert write(connection, "late") == [False]
    assert line.sent == [{"type": "websocket.close", "code": 4000, "reason": "why"}]


async def test_more_bytes_than_may_wait_end_it_as_slow(line: Line) -> None:
    line.taking.clear()
    connection = make_connection(line=line, max_queue_bytes=10)
    ends = Ends(connection)
    write(connection, "12345", "67890")
    assert ends.departures == []
    write(connection, "!")
    assert ends.departures == [Departure(reason="slow", code=4008)]
    connection.wire.abandon()


async def test_more_messages_than_may_wait_end_it_as_slow(line: Line) -> None:
    line.taking.clear()
    connection = make_connection(line=line, max_queue_messages=2)
    ends = Ends(connection)
    write(connection, "1", "2")
    assert ends.departures == []
    write(connection, "3")
    assert ends.departures == [Departure(reason="slow", code=4008)]
    connection.wire.abandon()


async def test_empty_messages_count_as_messages(line: Line) -> None:
    line.taking.clear()
    connection = make_connection(line=line, max_queue_messages=2)
    ends = Ends(connection)
    write(connection, "", "", "")
    assert ends.departures == [Departure(reason="slow", code=4008)]
    connection.wire.abandon()


async def test_where_it_is_to_drop_the_oldest_the_newest_stay(line: Line) -> None:
    line.taking.clear()
    connection = make_connection(line=line, max_queue_messages=3, when_slow="drop_oldest")
    ends = Ends(connection)
    assert write(connection, *"abcdef") == [True] * 6
    assert (ends.departures, connection.wire.dropped) == ([], 3)
    line.taking.set()
    await connection.wire.drained()
    # The first was with the server before.
    assert line.frames == ["a", "e", "f"]


async def test_the_oldest_are_dropped_by_their_bytes_too(line: Line) -> None:
    line.taking.clear()
    connection = make_connection(line=line, max_queue_bytes=10, when_slow="drop_oldest")
    write(connection, "aaaa", "bbb", "ccc", "dddd")
    assert (connection.wire.waiting_bytes, connection.wire.dropped) == (8, 2)
    write(connection, "x" * 100)
    assert (connection.wire.waiting_frames, connection.wire.dropped) == (2, 3)
    connection.wire.abandon()


async def test_where_the_latest_counts_one_of_a_key_waits(line: Line) -> None:
    line.taking.clear()
    connection = make_connection(line=line, max_queue_messages=4, when_slow="latest")
    ends = Ends(connection)
    write(connection, "in hand")
    for number in range(100):
        connection.write(Outgoing(f"EUR {number}", key="EUR"))
        connection.write(Outgoing(f"USD {number}", key="USD"))
    assert (ends.departures, connection.wire.dropped) == ([], 198)
    write(connection, "no key")
    line.taking.set()
    await connection.wire.drained()
    assert line.frames == ["in hand", "EUR 99", "USD 99", "no key"]


async def test_where_the_latest_counts_too_much_else_is_slow(line: Line) -> None:
    line.taking.clear()
    connection = make_connection(line=line, max_queue_messages=2, when_slow="latest")
    ends = Ends(connection)
    write(connection, "1", "2", "3")
    assert ends.departures == [Departure(reason="slow", code=4008)]
    connection.wire.abandon()


@pytest.mark.parametrize("when_slow", ["close", "drop_oldest"])
async def test_a_key_is_nothing_to_the_others(line: Line, when_slow: str) -> None:
    line.taking.clear()
    connection = make_connection(line=line, when_slow=when_slow)
    for text in "abc":
        connection.write(Outgoing(text, key="EUR"))
    line.taking.set()
    await connection.wire.drained()
    assert line.frames == ["a", "b", "c"]


async def test_a_large_message_that_is_taken_at_once_is_not_slow(line: Line) -> None:
    connection = make_connection(line=line, max_queue_bytes=10)
    ends = Ends(connection)
    assert write(connection, "x" * 100) == [True]
    assert ends.departures == []


async def test_a_socket_that_can_not_be_written_to_ends_it(line: Line) -> None:
    connection = make_connection(line=line)
    ends = Ends(connection)
    line.broken = ConnectionResetError("peer reset")
    assert write(connection, "one", "two") == [False, False]
    assert ends.departures == [Departure(reason="write", error="ConnectionResetError: peer reset")]


async def test_before_a_relay_has_it_an_end_is_nobodys(line: Line) -> None:
    connection = make_connection(line=line)
    line.broken = OSError("gone")
    assert write(connection, "one") == [False]


def test_each_connection_has_an_id_of_its_own() -> None:
    assert make_connection("ann").id != make_connection("ann").id


def test_its_join() -> None:
    connection = make_connection("ann", "lobby")
    join = connection.join_op("process")
    assert (join.hub, join.client_id, join.connection) == ("lobby", "ann", connection.id)
    assert (join.process, join.events, join.again, join.posted) == ("process", EVENTS, "", 0)
    assert tell(read_body("lobby", 1, join.body)) == ("joined", "ann")


def test_joining_again_it_takes_the_place_of_what_it_was() -> None:
    connection = make_connection("ann")
    first = connection.join_op("process")
    connection.posted = 7
    again = connection.join_op("another", again=True)
    assert again.again == first.connection
    assert again.connection == connection.id != first.connection
    assert (again.process, again.posted) == ("another", 7)


def test_its_posts_have_their_numbers() -> None:
    connection = make_connection()
    post = connection.post_op(Posting(2), b"two")
    assert (post.number, post.connection) == (2, connection.id)
    assert tell(read_body("lobby", 1, post.body)) == ("message", "ann", b"two")


def test_a_leave_has_room_for_the_newest_undelivered_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_UNDELIVERED", 10)
    undelivered = ["oldest", "é" * 3, b"1234"]
    leave = make_connection().leave_op(Departure(reason="slow"), undelivered)
    assert read_body("lobby", 1, leave.body).undelivered == ("é" * 3, b"1234")


@pytest.mark.parametrize("held", [False, True])
def test_released_it_is_freed_at_once(held: bool) -> None:
    connection = make_connection()
    wire = connection.wire
    if held:  # it left before it was welcomed
        connection.wire = HeldWire(wire)
    Ends(connection)
    gone = weakref.ref(connection)
    connection.release()
    del connection
    assert gone() is None


async def test_released_it_ends_nobody(line: Line) -> None:
    connection = make_connection(line=line)
    ends = Ends(connection)
    connection.release()
    line.broken = OSError("gone")
    assert write(connection, "one") == [False]
    assert ends.departures == []


def test_its_leave_tells_all() -> None:
    connection = make_connection()
    connection.join_op("process")
    leave = connection.leave_op(Departure(reason="write", code=1006, error="E"), ["one", b"two"])
    left = read_body("lobby", 1, leave.body)
    assert (left.reason, left.code, left.error) == ("write", 1006, "E")
    assert left.undelivered == ("one", b"two")
    assert (leave.connection, leave.process) == (connection.id, "process")


def test_who_it_is_stands_in_every_body() -> None:
    connection = make_connection("ann")
    for body in (connection.join_op("p").body, connection.post_op(Posting(1), "x").body):
        assert json.loads(body)[1:4] == ["ann", None, {}]


def test_its_meta_is_kept_once_and_costs_nothing_where_there_is_none() -> None:
    meta = {"team": "red"}
    assert make_connection(meta=meta).meta is meta
    assert make_connection("ann").meta is make_connection("bob").meta == {}


async def test_a_close_that_comes_last_drops_nothing(line: Line) -> None:
    line.taking.clear()
    connection = make_connection(line=line, max_queue_messages=2, when_slow="drop_oldest")
    write(connection, "a", "b", "c")
    connection.close(1000)
    line.taking.set()
    await connection.wire.drained()
    assert line.frames == ["a", "c", 1000]
