"""Ordering: one order for all of a hub, whatever the layer does to what it carries."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from django_hub import ordering as module
from django_hub import orders, recall
from django_hub.connection import Connection
from django_hub.entries import Entry, Scope, to_item
from django_hub.exceptions import Damaged, Unavailable
from django_hub.fanout import Fanout
from django_hub.layers.base import Layer
from django_hub.messages import Close
from django_hub.names import group_name
from django_hub.ordering import Ordering
from django_hub.pump import pump
from django_hub.sender import Sender
from django_hub.stores.ops import Join, Number, Publication
from django_hub.testing.chaos import ChaosLayer
from tests.apps import Clock, FaultyStore, Line, make_connection
from tests.apps import world as world
from tests.sockets import turns, until


class Place:
    """One process: its connections, and what each was sent."""

    def __init__(self, store: FaultyStore) -> None:
        self.store = store
        self.fanout = Fanout()
        self.ordering = Ordering(store, self.fanout)
        self.names = map(str, range(1_000_000))

    def enter(self, client_id: str = "ann", hub: str = "lobby", session: str = "") -> Connection:
        """Its Join is answered."""
        connection = self.come(client_id, hub, session)
        self.ordering.begin(hub, self.store._logs.peek(hub, self.store._clock()))
        return connection

    def come(self, client_id: str = "ann", hub: str = "lobby", session: str = "") -> Connection:
        """Its Join is not answered yet."""
        connection = make_connection(client_id, hub, Line(), session=session)
        self.fanout.add(connection)
        return connection

    def leave(self, connection: Connection) -> None:
        self.fanout.remove(connection)
        self.ordering.forget(connection)

    async def publish(
        self, *texts: str, hub: str = "lobby", client_id: str = "", session: str = ""
    ) -> list[Entry]:
        """Number them, as a sender does; nobody is sent them yet."""
        entries = []
        for text in texts:
            entry = Entry(hub, text)
            if client_id:
                entry = Entry(hub, text, Scope.ONLY, (session,))
            item = Publication(hub=hub, item=to_item(entry), id=next(self.names), client_id=client_id)
            (number,) = await self.store.publish([item])
            epoch = "" if client_id else number.epoch
            entries.append(Entry(hub, text, entry.scope, entry.ids, epoch=epoch, seq=number.seq))
        return entries

    def put(self, *entries: Entry) -> None:
        for entry in entries:
            self.ordering.put([entry])


def sent(connection: Connection) -> list[Any]:
    """To a raw client its frames; to one of hub.v1 the data, a hole as its number below zero."""
    frames = connection.wire._send.frames
    return [_read(json.loads(frame)) if connection.session else frame for frame in frames]


def _read(fields: dict[str, Any]) -> Any:
    return -fields["seq"] if fields.get("type") == "resync" else fields["data"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "_LATE", 0.005)


@pytest.fixture
def place() -> Iterator[Place]:
    return Place(FaultyStore(clock=Clock()))


async def test_in_order_they_go_as_they_come(place: Place) -> None:
    ann = place.enter()
    place.put(*await place.publish("1", "2", "3"))
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", "3"]
    assert "history" not in place.store.calls
    assert place.fanout.position("lobby") == ((await place.store.history("lobby", 0)).epoch, 3)


async def test_what_is_for_hubs_without_clients_here_is_dropped(place: Place) -> None:
    place.put(*await place.publish("1"))
    assert place.ordering._orders == {}


async def test_the_first_ones_wait_until_it_is_known_where_the_log_begins(place: Place) -> None:
    ann = place.come()
    await place.publish("0")
    two, three = await place.publish("1", "2")
    place.put(three, Entry("lobby", "said after it"), two)
    assert sent(ann) == []
    place.ordering.begin("lobby", Number(two.epoch, 1))
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", "said after it"]
    place.ordering.begin("lobby", Number(two.epoch, 3))  # somebody else joins
    place.put(*await place.publish("3"))
    await place.ordering.idle()
    assert sent(ann)[3:] == ["3"]


async def test_where_there_was_no_log_its_first_number_is_waited_for(place: Place) -> None:
    ann, bob = place.enter(), place.enter("bob", session="s")
    one, two = await place.publish("1", "2")
    place.put(two)
    await turns(3)
    assert sent(ann) == []
    place.put(one)
    await place.ordering.idle()
    assert sent(ann) == sent(bob) == ["1", "2"]
    assert bob.position == (one.epoch, 0)


async def test_where_it_is_not_told_it_begins_with_the_lowest_that_comes_soon(place: Place) -> None:
    ann = place.come()
    place.put(*reversed(await place.publish("1", "2")))
    await until(lambda: len(sent(ann)) == 2)
    assert sent(ann) == ["1", "2"]


async def test_not_more_than_so_much_waits_to_begin(place: Place) -> None:
    ann = place.come()
    place.put(*[Entry("lobby", "x", epoch="e", seq=seq) for seq in range(5, 1006)])
    await place.fanout.idle()
    assert len(sent(ann)) == 1001


async def test_settled_while_nothing_has_come(place: Place) -> None:
    """Who joined before the log was there misses none of it."""
    ann = place.enter()
    one, two = await place.publish("1", "2")
    await place.ordering.settle("lobby")
    place.put(two, one)
    await place.ordering.idle()
    assert sent(ann) == ["1", "2"]
    assert place.fanout.position("lobby") == (one.epoch, 2)


async def test_late_ones_are_waited_for_and_doubles_are_dropped(place: Place) -> None:
    ann = place.enter()
    one, two, three, four = await place.publish(*"1234")
    place.put(one, three, four, one, two, four)
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", "3", "4"]


async def test_what_comes_twice_while_it_waits_counts_once(place: Place) -> None:
    """Two of them would be more than may wait."""
    bob = place.enter("bob", session="s")
    one, two, three = await place.publish("1", "2", "3" * 3_000_000)
    place.put(one, three, three, two)
    await place.ordering.idle()
    assert sent(bob) == ["1", "2", three.frame]


async def test_lost_ones_are_had_from_the_store(place: Place) -> None:
    ann, bob = place.enter(), place.enter("bob", session="s")
    one, _, _, four = await place.publish(*"1234")
    place.put(one, four)
    await place.ordering.idle()
    assert sent(ann) == sent(bob) == ["1", "2", "3", "4"]
    assert place.store.calls.count("history") == 1


async def test_what_is_not_kept_is_told_to_clients_of_hub_v1(place: Place) -> None:
    ann, bob = place.enter(), place.enter("bob", session="s")
    entries = await place.publish(*map(str, range(1, 120)))
    place.put(entries[0], entries[-1])
    await place.ordering.idle()
    assert sent(ann) == ["1", *map(str, range(20, 120))]
    assert sent(bob) == ["1", -19, *map(str, range(20, 120))]


async def test_what_has_no_number_waits_with_what_came_before(place: Place) -> None:
    ann, bob = place.enter(), place.enter("bob", hub="elsewhere")
    one, two, three = await place.publish(*"123")
    place.put(
        one, three, Entry("lobby", "droppable"), Entry("elsewhere", "now"), Entry("lobby", Close(4000))
    )
    await turns()
    assert (sent(ann), sent(bob)) == (["1"], ["now"])
    place.put(two)
    await place.ordering.idle()
    assert ann.wire._send.sent[-1]["type"] == "websocket.close"
    assert [m.get("text") for m in ann.wire._send.sent[:-1]] == ["1", "2", "3", "droppable"]


async def test_a_store_that_is_away_is_asked_again(place: Place) -> None:
    ann = place.enter()
    one, _, three = await place.publish(*"123")
    place.store.fail["history"] = [Unavailable("gone"), Unavailable("gone")]
    place.put(one, three)
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", "3"]


async def test_a_damaged_log_goes_on_with_a_hole(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    bob = place.enter("bob", session="s")
    one, _, three = await place.publish(*"123")
    place.store.damaged.add("lobby")
    place.put(one, three)
    await place.ordering.idle()
    assert sent(bob) == ["1", -2, "3"]
    assert "Hub lobby goes on without" in caplog.text


async def test_an_item_that_can_not_be_read_is_a_hole(place: Place) -> None:
    bob = place.enter("bob", session="s")
    (one,) = await place.publish("1")
    await place.store.publish([Publication(hub="lobby", item="junk", id="x")])
    (three,) = await place.publish("3")
    place.put(one, three)
    await place.ordering.idle()
    assert sent(bob) == ["1", -2, "3"]


@pytest.mark.parametrize(("size", "count"), [(1, 1001), (100_000, 42)])
async def test_not_more_than_so_much_waits(place: Place, size: int, count: int) -> None:
    bob = place.enter("bob", session="s")
    place.store.fail["history"] = [Unavailable("gone")] * 1000
    one, *rest = [Entry("lobby", "x" * size, epoch="e", seq=seq) for seq in range(1, count + 3)]
    place.put(one, *rest[1:])
    await place.ordering.idle()
    assert sent(bob)[1] == -2
    assert len(sent(bob)) == count + 2


async def test_a_log_that_began_anew_is_behind_a_hole(place: Place) -> None:
    bob = place.enter("bob", session="s")
    place.put(*await place.publish("1", "2"))
    place.store._logs._logs.clear()
    one, _ = await place.publish("one", "two")
    place.put(one)
    await place.ordering.idle()
    assert sent(bob) == ["1", "2", 0, "one", "two"]


async def test_a_log_that_began_anew_is_not_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orders, "_LATE", 60.0)
    ann = place.enter()
    place.put(*await place.publish("1"))
    place.store._logs._logs.clear()
    place.put(*await place.publish("2"))
    await asyncio.wait_for(place.ordering.idle(), 5)
    assert sent(ann) == ["1", "2"]


async def test_forgotten_with_the_last_connection(place: Place) -> None:
    ann, bob = place.enter(), place.enter("bob")
    one, _, three = await place.publish(*"123")
    place.put(one, three)
    place.leave(ann)
    assert place.fanout.position("lobby") is not None
    place.leave(bob)
    assert place.fanout.position("lobby") is None
    assert place.ordering._orders == {}
    await asyncio.wait_for(place.ordering.idle(), 5)
    place.leave(bob)
    cy = place.enter("cy")
    place.put(*await place.publish("4"))
    await place.ordering.idle()
    assert sent(cy) == ["4"]


async def test_what_was_on_its_way_when_all_left_is_for_nobody(place: Place) -> None:
    ann = place.enter()
    place.put(*await place.publish("1"))
    place.leave(ann)
    bob = place.enter("bob")
    await place.ordering.settle("lobby")
    await place.ordering.idle()
    assert sent(bob) == []
    assert bob.position[1] == 1


# Positions


async def test_settled_the_position_is_known_and_the_store_asked_once(place: Place) -> None:
    await place.publish("1", "2")
    ann = place.come(session="s")
    await asyncio.gather(*(place.ordering.settle("lobby") for _ in range(5)))
    assert place.store.calls.count("history") == 1
    assert ann.position == place.fanout.position("lobby")
    assert ann.position[1] == 2
    assert place.enter("bob").position == ann.position
    place.put(*await place.publish("3"))
    await place.ordering.idle()
    assert sent(ann) == ["3"]
    assert place.enter("cy").position[1] == 3
    await place.ordering.settle("nowhere")


async def test_what_cannot_be_settled_is_raised(place: Place) -> None:
    place.enter()
    place.store.fail["history"] = [Unavailable("gone")]
    with pytest.raises(Unavailable):
        await place.ordering.settle("lobby")
    await place.ordering.settle("lobby")


async def test_settling_ends_where_all_leave(place: Place) -> None:
    ann = place.enter()
    settling = asyncio.create_task(place.ordering.settle("lobby"))
    await turns(1)
    place.leave(ann)
    await asyncio.wait_for(settling, 5)


async def test_between_position_and_what_follows_nothing_is_missing(place: Place) -> None:
    """Whoever comes at any moment gets all above its position."""
    place.enter()
    late: list[Connection] = []
    for number in range(50):
        place.put(*await place.publish(str(number + 1)))
        late.append(place.enter(f"c{number}", session=f"s{number}"))
        await turns(number % 3)
    await place.ordering.idle()
    for connection in late:
        epoch, seq = connection.position
        known = await place.ordering.since("lobby", epoch or late[-1].position[0], 0, seq) if seq else []
        assert [entry.frame for entry in known or []] + sent(connection) == [str(n) for n in range(1, 51)]


# What was


async def test_what_a_client_missed(place: Place) -> None:
    place.enter()
    entries = await place.publish(*"12345")
    epoch = entries[0].epoch
    place.put(*entries)
    await place.ordering.idle()
    since = place.ordering.since
    answers = await asyncio.gather(*(since("lobby", epoch, seq, 5) for seq in range(6)))
    assert [len(answer or ()) for answer in answers] == [5, 4, 3, 2, 1, 0]
    assert place.store.calls.count("history") == 1
    place.put(*await place.publish("6"))
    assert [entry.frame for entry in await since("lobby", epoch, 3, 6) or ()] == ["4", "5", "6"]
    assert place.store.calls.count("history") == 1
    assert await since("lobby", epoch, 7, 6) is None
    assert await since("lobby", "another", 3, 6) is None
    assert await since("nowhere", epoch, 3, 6) is None


async def test_what_is_not_used_is_dropped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "_KEPT", 0.005)
    place.enter()
    (one,) = await place.publish("1")
    place.put(one)
    assert await place.ordering.since("lobby", one.epoch, 0, 1) is not None
    await until(lambda: not place.ordering._orders["lobby"]._recall.is_kept)
    assert await place.ordering.since("lobby", one.epoch, 0, 1) is not None
    assert place.store.calls.count("history") == 2


async def test_what_cannot_be_read_is_raised(place: Place) -> None:
    place.enter()
    place.store.damaged.add("lobby")
    with pytest.raises(Damaged):
        await place.ordering.since("lobby", "e", 0, 1)


# To one client


async def join(place: Place, client_id: str = "ann", session: str = "s") -> Connection:
    ann = place.enter(client_id, session=session)
    await place.store.apply(
        [
            Join(
                hub="lobby",
                client_id=client_id,
                connection=ann.id,
                process="p",
                events="e",
                who="{}",
                at=0,
                body="",
            )
        ]
    )
    return ann


async def test_a_clients_own_come_in_their_order(place: Place) -> None:
    ann = await join(place)
    one, two, three = await place.publish(*"123", client_id="ann", session="s")
    place.put(two, one, one, three)
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", "3"]


async def test_a_clients_own_that_is_lost_is_had_from_the_store(place: Place) -> None:
    ann = await join(place)
    one, _, three = await place.publish(*"123", client_id="ann", session="s")
    place.put(one, three)
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", "3"]


async def test_a_hole_in_a_clients_own_log_is_told_to_it_alone(place: Place) -> None:
    ann, bob = await join(place), place.enter("bob", session="b")
    place.put(*await place.publish("all"))
    entries = await place.publish(*map(str, range(1, 103)), client_id="ann", session="s")
    place.put(entries[0], entries[-1])
    await place.ordering.idle()
    assert sent(ann) == ["all", "1", -1, *map(str, range(3, 103))]
    assert sent(bob) == ["all"]


async def test_a_clients_own_log_that_went_back_is_told(place: Place) -> None:
    ann = await join(place)
    place.put(*await place.publish(*"12", client_id="ann", session="s"))
    place.store._logs.forget("lobby", "ann")
    place.put(*await place.publish("one", client_id="ann", session="s"))
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", 0, "one"]


async def test_a_client_that_came_from_elsewhere_begins_where_it_is_told(place: Place) -> None:
    ann = await join(place)
    _, two, three, four = await place.publish(*"1234", client_id="ann", session="s")
    place.put(four)
    place.ordering.begin_client(ann, 2)
    place.put(two, three)
    await place.ordering.idle()
    assert sent(ann) == ["3", "4"]


async def test_or_with_what_comes_first(place: Place) -> None:
    ann = await join(place)
    *_, five, six = await place.publish(*"123456", client_id="ann", session="s")
    place.put(six, five)
    await place.ordering.idle()
    assert sent(ann) == ["5", "6"]


async def test_a_clients_own_waits_behind_what_its_hub_waits_for(place: Place) -> None:
    ann = await join(place)
    one, two, three = await place.publish(*"123")
    place.put(one, three, *await place.publish("own", client_id="ann", session="s"))
    await turns()
    assert sent(ann) == ["1"]
    place.put(two)
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", "3", "own"]


async def test_a_client_that_left_is_forgotten(place: Place) -> None:
    ann, _ = await join(place), place.enter("bob")
    one, _, three = await place.publish(*"123", client_id="ann", session="s")
    place.put(one, three)
    await turns()
    place.leave(ann)
    assert place.ordering._orders["lobby"]._clients == {}
    await asyncio.wait_for(place.ordering.idle(), 5)
    place.put(three)


# A look at the store


async def test_a_lost_last_one_is_found_by_a_look(place: Place) -> None:
    ann = place.enter(session="s")
    place.enter("raw", hub="elsewhere")
    one, _ = await place.publish("1", "2")
    place.put(one)
    await place.ordering.look()
    await place.ordering.idle()
    assert sent(ann) == ["1", "2"]


async def test_what_is_only_on_its_way_is_not_asked_for(place: Place) -> None:
    ann = place.enter(session="s")
    one, two = await place.publish("1", "2")
    place.put(one)
    await place.ordering.look()
    place.put(two)
    await place.ordering.idle()
    assert sent(ann) == ["1", "2"]
    assert "history" not in place.store.calls


async def test_a_log_that_is_gone_or_went_back_is_found_by_a_look(place: Place) -> None:
    ann = place.enter(session="s")
    place.put(*await place.publish("1", "2"))
    place.store._logs._logs.clear()
    await place.ordering.look()
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", 0]
    place.put(*await place.publish("one", "two"))
    await place.ordering.idle()
    place.store._logs._logs["lobby", ""].seq = 1
    await place.ordering.look()
    await place.ordering.idle()
    assert sent(ann) == ["1", "2", 0, "one", "two", 0]
    place.store.calls.clear()
    place.leave(ann)
    await place.ordering.look()
    assert place.store.calls == []


async def test_a_lost_last_message_to_one_client_is_found_by_a_look(place: Place) -> None:
    ann, bob = await join(place), await join(place, "bob", "t")
    await place.ordering.settle("lobby")
    for each in (ann, bob):
        place.ordering.begin_client(each, 0)
    await place.publish("1", client_id="ann", session="s")
    await place.ordering.look()
    await place.ordering.idle()
    assert sent(ann) == ["1"]
    place.store.calls.clear()
    await place.ordering.look()
    await place.publish("2", client_id="ann", session="s")
    await place.ordering.look()
    await place.ordering.idle()
    assert sent(ann) == ["1", "2"]
    # Once for each client that was sent something, and not for those that were not.
    assert place.store.calls == ["positions", "publish", "positions", "told"]


async def test_a_look_leaves_a_client_to_its_welcome_and_comes_back(place: Place) -> None:
    ann = await join(place)
    await place.ordering.settle("lobby")
    await place.publish("1", client_id="ann", session="s")
    await place.ordering.look()
    await place.ordering.idle()
    assert sent(ann) == []
    # Its welcome was asked for before the message was there.
    place.ordering.begin_client(ann, 0)
    await place.ordering.look()
    await place.ordering.idle()
    assert sent(ann) == ["1"]


async def test_a_clients_own_log_that_went_back_is_found_by_a_look(place: Place) -> None:
    ann = await join(place)
    await place.ordering.settle("lobby")
    place.ordering.begin_client(ann, 0)
    place.put(*await place.publish("1", "2", client_id="ann", session="s"))
    await place.ordering.look()
    place.store._logs._logs["lobby", "ann"].seq = 0
    await place.publish("one", client_id="ann", session="s")
    await place.ordering.look()
    await place.ordering.idle()
    assert sent(ann)[:2] == ["1", "2"]
    assert 0 in sent(ann)


async def test_a_look_at_many_hubs_is_not_one_step(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    names = [f"hub {number}" for number in range(5)]
    here = [place.enter(hub=name, session="s") for name in names]
    for name in names:
        await place.publish("lost", hub=name)
    positions, asked = place.store.positions, []

    async def counted(hubs: Any) -> Any:
        asked.append(len(hubs))
        return await positions(hubs)

    monkeypatch.setattr(place.store, "positions", counted)
    await place.ordering.look()
    assert asked == [2, 2, 1]
    await place.ordering.idle()
    assert [sent(each) for each in here] == [["lost"]] * 5


@pytest.mark.parametrize("asked", ["positions", "told"])
async def test_a_hub_that_all_leave_while_the_store_is_asked_is_not_looked_after(
    place: Place, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    """Also where somebody is back meanwhile: that is another beginning."""
    ann = await join(place)
    await place.ordering.settle("lobby")
    place.ordering.begin_client(ann, 0)
    await place.publish("lost")
    await place.publish("lost, too", client_id="ann", session="s")
    ask = getattr(place.store, asked)
    back = []

    async def slow(*args: Any) -> Any:
        answer = await ask(*args)
        place.leave(ann)
        back.append(place.enter(session="s"))
        return answer

    monkeypatch.setattr(place.store, asked, slow)
    place.store.calls.clear()
    await place.ordering.look()
    await place.ordering.idle()
    assert "history" not in place.store.calls
    assert sent(back[0]) == []


# All of it


@pytest.mark.parametrize("seed", range(6))
async def test_one_order_for_all_on_a_layer_that_loses_doubles_and_mixes(seed: int) -> None:
    inner = {"BACKEND": "channels.layers.InMemoryChannelLayer", "CONFIG": {"capacity": 10_000}}
    store, layer = FaultyStore(), ChaosLayer(inner, seed=seed, drop=0.2, double=0.2, delay=0.3, reorder=0.3)
    places = [Place(store) for _ in range(2)]
    members = [place.enter(f"{n}{who}", session=who) for n, place in enumerate(places) for who in ("", "s")]
    pumps = []
    for number, place in enumerate(places):
        await place.ordering.settle("lobby")
        channel = f"specific.place!{number}"
        await layer.group_add(group_name("lobby"), channel)
        pumps.append(asyncio.create_task(pump(Layer(layer), channel, place.ordering, lambda _: None)))
    senders = [Sender(Layer(layer), store, place.ordering.room) for place in places]
    for number in range(150):
        await asyncio.gather(
            *(sender.broadcast(Entry("lobby", f"{who} {number}")) for who, sender in enumerate(senders))
        )
    await layer.settle()
    for _ in range(3):
        await turns(20)
        for place in places:
            await place.ordering.look()
            await place.ordering.idle()
    for task in pumps:
        task.cancel()
    await asyncio.wait(pumps)
    history = await store.history("lobby", 0)
    for connection in members:
        frames = [frame for frame in sent(connection) if not isinstance(frame, int)]
        assert len(frames) == len(set(frames))
        if len(frames) == len(sent(connection)) and connection.session:
            assert len(frames) == history.seq == 300
        order = {json.loads(item)[0]: seq for seq, item in history.items}
        seqs = [order[frame] for frame in frames if frame in order]
        assert seqs == sorted(seqs)
        assert sent(connection)[-1] == json.loads(history.items[-1][1])[0]
    assert {tuple(sent(each)) for each in members if not each.session} == {tuple(sent(members[0]))}
