"""The fan-out: who gets an entry, in which order, and what others get to do meanwhile."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, Self

import pytest
from hypothesis import given as given_lists
from hypothesis import strategies as st

from django_hub import fanout as module
from django_hub.connection import Connection
from django_hub.entries import Entry, Kind, Scope
from django_hub.fanout import Fanout
from django_hub.filters import Where
from django_hub.messages import Close
from django_hub.runs import MOST_BYTES
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Outgoing
from tests.apps import Line, make_connection
from tests.apps import world as world
from tests.sockets import turns


class Room:
    """Connections by their client id, and what each was sent."""

    def __init__(self) -> None:
        self.fanout = Fanout()
        self.connections: dict[str, Connection] = {}
        self.lines: dict[str, Line] = {}

    def enter(self, *client_ids: str, hub: str = "lobby", **meta: Any) -> None:
        for client_id in client_ids:
            line = self.lines[client_id] = Line()
            connection = self.connections[client_id] = make_connection(client_id, hub, line, meta)
            self.fanout.add(connection)

    def leave(self, client_id: str) -> None:
        self.fanout.remove(self.connections[client_id])

    async def put(self, *entries: Entry) -> None:
        await self.fanout.put(entries)

    def sent(self) -> dict[str, list[Any]]:
        return {client_id: line.frames for client_id, line in self.lines.items()}


@pytest.fixture
def room() -> Room:
    return Room()


async def test_to_all_of_a_hub(room: Room) -> None:
    room.enter("ann", "bob")
    room.enter("cy", hub="elsewhere")
    await room.put(Entry("lobby", "hello"))
    assert room.sent() == {"ann": ["hello"], "bob": ["hello"], "cy": []}


async def test_to_only_those_connections(room: Room) -> None:
    room.enter("ann", "bob", "cy")
    ids = (room.connections["cy"].id, "unknown", room.connections["ann"].id)
    await room.put(Entry("lobby", "hello", Scope.ONLY, ids))
    assert room.sent() == {"ann": ["hello"], "bob": [], "cy": ["hello"]}


async def test_to_all_except_those_clients(room: Room) -> None:
    room.enter("ann", "bob", "cy")
    await room.put(Entry("lobby", "hello", Scope.EXCEPT, ("bob", "unknown")))
    assert room.sent() == {"ann": ["hello"], "bob": [], "cy": ["hello"]}


async def test_to_only_those_clients(room: Room) -> None:
    room.enter("ann", "bob", "cy")
    await room.put(Entry("lobby", "hello", Scope.CLIENTS, ("bob", "unknown")))
    assert room.sent() == {"ann": [], "bob": ["hello"], "cy": []}


async def test_to_those_whose_meta_matches(room: Room) -> None:
    room.enter("ann", "bob", team="red")
    room.enter("cy", team="blue")
    room.enter("dee")
    red = Where(team="red").filter()
    await room.put(Entry("lobby", "1", filter=red), Entry("lobby", "2", Scope.EXCEPT, ("ann",), filter=red))
    assert room.sent() == {"ann": ["1"], "bob": ["1", "2"], "cy": [], "dee": []}


async def test_in_a_large_hub_what_is_kept_of_all_is_not_for_some(room: Room) -> None:
    blue = [str(number) for number in range(2 * module._WRITES)]
    room.enter(*blue, team="blue")
    room.enter("ann", team="red")
    await room.put(Entry("lobby", "1"))
    await room.put(Entry("lobby", "2", filter=Where(team="red").filter()))
    await room.put(Entry("lobby", "3", Scope.CLIENTS, ("ann",)), Entry("lobby", "4"))
    assert room.sent() == {"ann": ["1", "2", "3", "4"], **{each: ["1", "4"] for each in blue}}


@pytest.mark.parametrize("scope", list(Scope))
async def test_to_a_hub_without_clients_here(room: Room, scope: Scope) -> None:
    await room.put(Entry("nowhere", "hello", scope, ("x",)))
    assert len(room.fanout) == 0


async def test_entries_in_their_order(room: Room) -> None:
    room.enter("ann", "bob")
    first = room.fanout.put([Entry("lobby", "1"), Entry("lobby", "2", Scope.EXCEPT, ("bob",))])
    second = room.fanout.put([Entry("lobby", "3")])
    await asyncio.gather(first, second)
    assert room.sent() == {"ann": ["1", "2", "3"], "bob": ["1", "3"]}


async def test_each_client_gets_the_very_same_message(room: Room) -> None:
    room.enter("ann", "bob")
    await room.put(Entry("lobby", "hello"))
    assert room.lines["ann"].sent[0] is room.lines["bob"].sent[0]


async def test_who_was_removed_gets_nothing(room: Room) -> None:
    room.enter("ann", "bob")
    room.leave("ann")
    await room.put(Entry("lobby", "hello"))
    assert room.sent() == {"ann": [], "bob": ["hello"]}


async def test_removing_twice_is_nothing(room: Room) -> None:
    room.enter("ann")
    room.leave("ann")
    room.leave("ann")
    assert len(room.fanout) == 0


async def test_it_counts_hubs_and_walks_connections(room: Room) -> None:
    room.enter("ann", "bob")
    room.enter("cy", hub="elsewhere")
    assert len(room.fanout) == 2
    assert {connection.client_id for connection in room.fanout} == {"ann", "bob", "cy"}


async def test_removing_while_walking(room: Room) -> None:
    room.enter("ann", "bob", "cy")
    for connection in room.fanout:
        room.fanout.remove(connection)
    assert len(room.fanout) == 0


async def test_a_broken_client_costs_the_others_nothing(room: Room) -> None:
    room.enter("ann", "bob")
    room.lines["ann"].broken = OSError("gone")
    await room.put(Entry("lobby", "hello"))
    assert room.sent() == {"ann": [], "bob": ["hello"]}


async def test_a_long_one_lets_others_run(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN", -1.0)  # every look at the clock is a turn
    room.enter(*map(str, range(3 * module._WRITES)))
    seen: list[int] = []

    async def look() -> None:
        while len(seen) < 3:
            seen.append(sum(map(len, room.sent().values())))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await room.put(Entry("lobby", "hello"))
    assert seen == [0, module._WRITES, 2 * module._WRITES]
    await looking


async def test_who_comes_and_goes_meanwhile_does_not_disturb(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TURN", -1.0)
    room.enter(*map(str, range(2 * module._WRITES)))
    put = room.fanout.put([Entry("lobby", "1"), Entry("lobby", "2", Scope.EXCEPT, ("nobody",))])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    room.leave("0")
    room.enter("late")
    await put
    assert room.sent()["1"] == ["1", "2"]
    assert room.sent()["late"] == ["2"]


async def test_where_its_writing_was_cut_off_nobody_waits_for_room(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of a loop, which cancels all: whoever says good-bye then must not hang."""
    monkeypatch.setattr(module, "_TURN", -1.0)
    room.enter(*map(str, range(2 * module._WRITES)))
    for _ in range(3):
        room.fanout.put([Entry("lobby", "x" * module._BACKLOG_BYTES)])
    await turns(2)
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    task.cancel()
    await asyncio.wait([task])
    await asyncio.wait_for(room.fanout.room(), 5)


async def test_to_find_out_that_nobody_is_meant_is_a_turn_too(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TURN", -1.0)
    room.enter("ann")
    put = room.fanout.put([Entry("lobby", "hi", Scope.CLIENTS, (f"nobody {n}",)) for n in range(10)])
    count = 0
    while not put.done():
        await asyncio.sleep(0)
        count += 1
    assert count > 10


async def test_room_is_what_few_wait(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN", -1.0)
    room.enter(*map(str, range(module._WRITES)))
    await room.fanout.room()
    count = 2 * module._BACKLOG + 10
    for number in range(count):
        room.fanout.put([Entry("lobby", "hello", Scope.EXCEPT, (f"nobody {number}",))])  # none is joined
    waiting = asyncio.create_task(room.fanout.room())
    await turns(2)
    assert not waiting.done()
    await waiting
    sent = len(room.lines["0"].frames)
    assert module._BACKLOG <= sent < count
    await room.fanout.idle()
    assert len(room.lines["0"].frames) == count


async def test_who_comes_into_a_large_hub_between_two_is_in_the_second(room: Room) -> None:
    everybody = [str(number) for number in range(2 * module._WRITES)]
    room.enter(*everybody)
    await room.put(Entry("lobby", "1"))
    room.leave("0")
    room.enter("late")
    await room.put(Entry("lobby", "2"))
    assert room.sent()["0"] == ["1"]
    assert room.sent()["late"] == ["2"]
    assert all(room.sent()[client_id] == ["1", "2"] for client_id in everybody[1:])


async def test_wires_of_several_kinds(room: Room) -> None:
    room.enter("ann", "bob", "cy")
    wire = Writes()
    room.connections["bob"].wire = wire
    await room.put(Entry("lobby", "hello"))
    assert room.sent() == {"ann": ["hello"], "bob": [], "cy": ["hello"]}
    assert wire.given == [("hello",)]


async def test_one_that_fails_is_told_and_the_next_ones_go(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Writes):
        def write(self, outgoing: Outgoing) -> bool:
            raise ZeroDivisionError

    room.enter("ann")
    room.enter("bob", hub="elsewhere")
    room.connections["ann"].wire = Failing()
    await room.put(Entry("lobby", "1"), Entry("elsewhere", "2"))
    assert room.sent()["bob"] == ["2"]
    assert "Frames for hub lobby could not be written" in caplog.text


# What waits for the same clients goes as one write


class Writes(AsgiWire):
    """A wire that notes what it is given at once."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        super().__init__(Line())
        self.given: list[tuple[Any, ...]] = []

    @classmethod
    def write_to_all(cls, wires: Iterable[Self], outgoing: Outgoing) -> None:
        for wire in wires:
            wire.write(outgoing)

    def write(self, outgoing: Outgoing) -> bool:
        self.given.append(outgoing.frames)
        return True


async def given(*entries: Entry, **meta: Any) -> list[tuple[Any, ...]]:
    """What ann, in the lobby and with that meta, is written when these wait."""
    room = Room()
    room.enter("ann", "bob", **meta)
    wire = room.connections["ann"].wire = Writes()
    await asyncio.gather(*(room.fanout.put([entry]) for entry in entries))
    return wire.given


async def test_what_waits_for_a_hub_goes_as_one_write() -> None:
    assert await given(*(Entry("lobby", text) for text in "abc")) == [("a", "b", "c")]


async def test_what_waits_for_other_hubs_does_not_part_it() -> None:
    entries = [Entry("lobby", "a"), Entry("elsewhere", "x"), Entry("lobby", b"b")]
    assert await given(*entries) == [("a", b"b")]


async def test_what_is_for_others_keeps_its_place() -> None:
    to_all = [Entry("lobby", text) for text in "abcd"]
    for_some = Entry("lobby", "!", Scope.EXCEPT, ("bob",))
    assert await given(*to_all[:2], for_some, for_some, *to_all[2:]) == [("a", "b"), ("!", "!"), ("c", "d")]


async def test_what_is_for_the_same_clients_goes_as_one_write() -> None:
    """The same by scope, ids and filter: what differs in one of these is another's."""
    for_some = [
        (Scope.CLIENTS, ("ann",), None),
        (Scope.CLIENTS, ("ann", "bob"), None),
        (Scope.CLIENTS, ("ann", "bob"), Where(n=1).filter()),
        (Scope.CLIENTS, ("ann", "bob"), Where(n=1.0).filter()),
        (Scope.ALL, (), Where(n=1).filter()),
    ]
    entries = [
        Entry("lobby", f"{number}{again}", scope, ids, filter=filter_)
        for number, (scope, ids, filter_) in enumerate(for_some)
        for again in "ab"
    ]
    assert await given(*entries, n=1) == [(f"{number}a", f"{number}b") for number in range(5)]


async def test_a_close_goes_by_itself() -> None:
    entries = [Entry("lobby", "a"), Entry("lobby", Close(4000)), Entry("lobby", "b")]
    assert await given(*entries) == [("a",), (Close(4000),), ("b",)]


async def test_one_write_has_bounds() -> None:
    large = "x" * (MOST_BYTES // 2)
    entries = [Entry("lobby", frame) for frame in ("a", large, large, "b", 2 * large, "c")]
    assert await given(*entries) == [("a", large), (large, "b"), (2 * large,), ("c",)]


# Clients of hub.v1


def number(seq: int, text: str | None = None, epoch: str = "e", **more: Any) -> Entry:
    return Entry("lobby", str(seq) if text is None else text, epoch=epoch, seq=seq, **more)


def enter(room: Room, client_id: str, session: str) -> Connection:
    room.lines[client_id] = line = Line()
    connection = room.connections[client_id] = make_connection(client_id, line=line, session=session)
    room.fanout.add(connection)
    return connection


async def test_clients_of_hub_v1_get_envelopes_and_others_the_frames(room: Room) -> None:
    room.enter("raw")
    session = enter(room, "ann", "s")
    to_ann = (Scope.ONLY, ("s",))
    room.fanout.begin("lobby", "e", 0)
    await room.put(
        number(1, "hi"),
        number(2, "{}", kind=Kind.RESYNC),
        number(3, '{"event":"left"}', kind=Kind.PRESENCE),
        Entry("lobby", b"x"),
        Entry("lobby", "own", *to_ann, seq=7),
        Entry("lobby", "answer", *to_ann, seq=8, reply=4),
        number(9, "{}", kind=Kind.RESYNC, scope=Scope.ONLY, ids=("s",)),
        Entry("lobby", Close(4410, "over")),
    )
    assert room.lines["raw"].frames == ["hi", b"x", 4410]
    frames = room.lines["ann"].frames
    assert frames[3] == b"{}\nx"
    assert [json.loads(frame) for frame in frames[:3] + frames[4:-1]] == [
        {"seq": 1, "data": "hi"},
        {"type": "resync", "epoch": "e", "seq": 2, "reason": json.loads(frames[1])["reason"]},
        {"type": "presence", "seq": 3, "event": "left"},
        {"direct": 7, "data": "own"},
        {"type": "reply", "id": 4, "direct": 8, "data": "answer"},
        {"type": "resync", "epoch": "e", "seq": 9, "reason": json.loads(frames[1])["reason"]},
        {"type": "closing", "code": 4410, "reason": "over", "reconnect": False},
    ]
    assert room.lines["raw"].sent[-1] == room.lines["ann"].sent[-1]
    assert room.fanout.position("lobby") == ("e", 3)
    assert session.wire.closed


async def test_numbered_ones_go_as_one_write_and_the_envelope_is_made_once(room: Room) -> None:
    wires = [Writes(), Writes()]
    for name, wire in zip("ab", wires, strict=True):
        enter(room, name, name).wire = wire
    room.fanout.begin("lobby", "e", 0)
    await asyncio.gather(*(room.fanout.put([number(seq)]) for seq in (1, 2, 3)))
    assert [len(frames) for frames in wires[0].given] == [3]
    assert wires[0].given[0] is wires[1].given[0]


async def test_a_newer_connection_of_a_session_takes_the_place_of_the_older(room: Room) -> None:
    old = enter(room, "ann", "s")
    assert room.fanout.with_sessions() == ["lobby"]
    new = enter(room, "ann", "s")
    room.fanout.remove(old)
    assert room.fanout.get("lobby", "s") is new
    await room.put(Entry("lobby", Close(4409), Scope.ONLY, (old.id,)))
    assert not new.wire.closed
    await room.put(Entry("lobby", Close(4409), Scope.ONLY, (new.id,)))
    assert new.wire.closed
    room.fanout.remove(new)
    assert room.fanout.with_sessions() == []
    assert room.fanout.get("lobby", "s") is None
    assert "lobby" not in room.fanout


async def test_what_has_a_number_is_written_above_the_position_only(room: Room) -> None:
    room.enter("ann")
    await room.put(number(1), Entry("lobby", "none"))
    assert room.fanout.position("lobby") is None
    room.fanout.begin("lobby", "e", 1)
    await room.put(number(1), number(2), number(2), number(9, epoch="old"), number(3))
    await room.put(number(0, "{}", epoch="new", kind=Kind.RESYNC), number(1, "new", "new"))
    assert room.lines["ann"].frames == ["none", "2", "3", "new"]
    assert room.fanout.position("lobby") == ("new", 1)
    room.fanout.forget("lobby")
    assert room.fanout.position("lobby") is None


async def test_a_connection_knows_behind_which_number_it_hears_all(room: Room) -> None:
    ann = enter(room, "ann", "a")
    room.fanout.begin("lobby", "e", 4)
    assert ann.position == ("e", 4)
    await room.put(number(5))
    assert enter(room, "bob", "b").position == ("e", 5)
    assert ann.position == ("e", 4)


async def test_a_changed_wire_is_written_to_in_a_large_hub_too(room: Room) -> None:
    room.enter(*map(str, range(2 * module._WRITES)))
    await room.put(Entry("lobby", "1"))
    wire = room.connections["0"].wire = Writes()
    room.fanout.changed(room.connections["0"])
    await room.put(Entry("lobby", "2"))
    assert wire.given == [("2",)]


AUDIENCES = st.tuples(
    st.sampled_from([Scope.EXCEPT, Scope.CLIENTS]),
    st.sampled_from([(), ("ann",), ("bob",), ("ann", "cy")]),
    st.sampled_from([None, "red", "blue"]),
)


@given_lists(st.lists(st.tuples(st.sampled_from("xy"), AUDIENCES), max_size=30))
def test_joined_or_not_each_client_gets_all_that_is_for_it_in_order(sent: list[tuple[str, Any]]) -> None:
    clients = {"ann": ("x", "red"), "bob": ("x", "blue"), "cy": ("y", "red")}

    async def run() -> dict[str, list[Any]]:
        room = Room()
        for client_id, (hub, team) in clients.items():
            room.enter(client_id, hub=hub, team=team)
        entries = [
            Entry(hub, str(number), scope, ids, filter=Where(team=team).filter() if team else None)
            for number, (hub, (scope, ids, team)) in enumerate(sent)
        ]
        await asyncio.gather(*(room.fanout.put([entry]) for entry in entries))
        return room.sent()

    def is_for(client_id: str, hub: str, scope: Scope, ids: tuple[str, ...], team: str | None) -> bool:
        return (
            clients[client_id][0] == hub
            and (client_id in ids) is (scope is Scope.CLIENTS)
            and team in (None, clients[client_id][1])
        )

    assert asyncio.run(run()) == {
        client_id: [str(n) for n, (hub, audience) in enumerate(sent) if is_for(client_id, hub, *audience)]
        for client_id in clients
    }
