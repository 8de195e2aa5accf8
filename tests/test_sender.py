"""The sender: the order that clients see, the size of parcels, and failures."""

import asyncio
import itertools
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from hypothesis import given
from hypothesis import strategies as st

from django_hub import sender as module
from django_hub.entries import Entry, Scope, from_item
from django_hub.exceptions import Damaged, Unavailable
from django_hub.layers.base import _AT_ONCE, Layer, Target
from django_hub.layers.memory import InMemoryLayer
from django_hub.messages import Close
from django_hub.names import group_name
from django_hub.parcels import unpack
from django_hub.sender import Sender, _Addressed, _puts, _stages
from django_hub.stores.memory import MemoryStore
from django_hub.stores.ops import Join
from tests.apps import FaultyLayer, FaultyStore
from tests.apps import world as world
from tests.sockets import turns, until

US = "specific.us!1"
# More than are sent to at the same time.
MANY = 2 * _AT_ONCE + 1


@pytest.fixture
def layer() -> FaultyLayer:
    return FaultyLayer()


async def always_room() -> None:
    """As if nothing waited."""


@pytest.fixture
def sender(layer: FaultyLayer) -> Sender:
    return Sender(Layer(layer), MemoryStore(), always_room)


async def arrived(layer: FaultyLayer, channel: str = US) -> list[list[Any]]:
    """The frames of each parcel that waits on a channel."""
    parcels = []
    while channel in layer.channels:
        parcels.append([entry.frame for entry in unpack(await layer.receive(channel))])
    return parcels


async def sent(*futures: asyncio.Future[Exception | None]) -> None:
    """Wait until the layer has all; raises what went wrong."""
    for future in futures:
        if (error := await future) is not None:
            raise error


def to_one(frame: str, hub: str = "a") -> Entry:
    return Entry(hub, frame, Scope.ONLY, ("connection",))


async def test_a_broadcast_goes_to_the_hubs_group(layer: FaultyLayer, sender: Sender) -> None:
    await layer.group_add(group_name("a"), US)
    await sent(sender.broadcast(Entry("a", "hello")))
    assert await arrived(layer) == [["hello"]]


async def test_a_broadcast_to_nobody(layer: FaultyLayer, sender: Sender) -> None:
    await sent(sender.broadcast(Entry("a", "hello")))
    assert layer.channels == {}


async def test_a_direct_one_goes_to_one_process(layer: FaultyLayer, sender: Sender) -> None:
    await sent(sender.direct(US, to_one("one")), sender.direct(US, to_one("two")))
    assert await arrived(layer) == [["one", "two"]]


async def test_what_waits_for_one_target_is_one_parcel(layer: FaultyLayer, sender: Sender) -> None:
    await layer.group_add(group_name("a"), US)
    await asyncio.gather(*(sender.broadcast(Entry("a", str(n))) for n in range(100)))
    assert await arrived(layer) == [[str(n) for n in range(100)]]


async def test_direct_and_broadcast_keep_the_order_of_the_calls(layer: FaultyLayer, sender: Sender) -> None:
    await layer.group_add(group_name("a"), US)
    expected = [str(number) for number in range(60)]
    await asyncio.gather(
        *(
            sender.direct(US, to_one(number)) if int(number) % 3 else sender.broadcast(Entry("a", number))
            for number in expected
        )
    )
    assert list(itertools.chain(*await arrived(layer))) == expected


async def test_a_failure_reaches_only_who_sent_there(layer: FaultyLayer, sender: Sender) -> None:
    await layer.group_add(group_name("b"), US)
    layer.error = KeyError
    layer.fail = {"group_send": 1}
    first, second, third = await asyncio.gather(
        sender.broadcast(Entry("a", "lost")),
        sender.broadcast(Entry("b", "there")),
        sender.broadcast(Entry("a", "lost too")),
    )
    assert isinstance(first, KeyError)
    assert second is None
    assert isinstance(third, KeyError)
    assert await arrived(layer) == [["there"]]


async def test_the_next_one_after_a_failure_goes(layer: FaultyLayer, sender: Sender) -> None:
    layer.error = KeyError
    layer.fail = {"send": 1}
    with pytest.raises(KeyError):
        await sent(sender.direct(US, to_one("lost")))
    await sent(sender.direct(US, to_one("there")))
    assert await arrived(layer) == [["there"]]


async def test_nobody_needs_to_wait(layer: FaultyLayer, sender: Sender) -> None:
    sender.direct(US, to_one("one"))
    sender.broadcast(Entry("a", "two"))
    assert layer.calls == []
    await sender.idle()
    assert await arrived(layer) == [["one"]]


async def test_while_the_broker_is_gone_all_wait_in_their_order(layer: FaultyLayer, sender: Sender) -> None:
    layer.fail = {"send": 2}
    await sent(sender.direct(US, to_one("one")), sender.direct(US, to_one("two")))
    assert await arrived(layer) == [["one", "two"]]


async def test_they_wait_no_longer_than_they_may(layer: FaultyLayer) -> None:
    layer.fail = {"send": 1_000_000}
    sender = Sender(Layer(layer), MemoryStore(), always_room, patience=0.01)
    with pytest.raises(Unavailable):
        await sent(sender.direct(US, to_one("one")))
    layer.fail = {}
    await sent(sender.direct(US, to_one("two")))
    assert await arrived(layer) == [["two"]]


async def test_a_full_channel_is_tried_again(layer: FaultyLayer, sender: Sender) -> None:
    layer.inner.capacity = 1
    await layer.send(US, {"type": "in the way"})
    sending = asyncio.create_task(sent(sender.direct(US, to_one("one"))))
    await until(lambda: len(layer.calls) > 1)
    await layer.receive(US)
    await sending
    assert await arrived(layer) == [["one"]]


async def test_a_channel_that_stays_full_loses_the_frames_and_says_so(
    layer: FaultyLayer,
    sender: Sender,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("django_hub.layers.base.PATIENCE", 0.1)
    layer.inner.capacity = 1
    await layer.send(US, {"type": "in the way"})
    await sent(sender.direct(US, to_one("one")), sender.direct(US, to_one("two")))
    assert f"{US} stays full: 2 frames dropped" in caplog.text
    await layer.receive(US)
    await sent(sender.direct(US, to_one("three")))
    assert await arrived(layer) == [["three"]]


async def test_it_waits_for_room(layer: FaultyLayer) -> None:
    room = asyncio.Event()

    async def until_room() -> None:
        await room.wait()

    sender = Sender(Layer(layer), MemoryStore(), until_room)
    sending = asyncio.create_task(sent(sender.direct(US, to_one("one"))))
    await turns()
    assert layer.calls == []
    room.set()
    await sending
    assert await arrived(layer) == [["one"]]


async def test_large_parts_of_one_target_keep_their_order(layer: FaultyLayer, sender: Sender) -> None:
    layer.inner.capacity = 1000
    texts = [f"{number}:" + "x" * 100_000 for number in range(9)]
    await asyncio.gather(*(sender.direct(US, to_one(text)) for text in texts))
    parcels = await arrived(layer)
    assert len(parcels) > 2
    assert list(itertools.chain(*parcels)) == texts


async def test_many_targets_are_sent_to(layer: FaultyLayer) -> None:
    rounds = 0

    async def room() -> None:
        nonlocal rounds
        rounds += 1

    sender = Sender(Layer(layer), MemoryStore(), room)
    await asyncio.gather(*(sender.direct(f"p.{n}", to_one(str(n))) for n in range(MANY)))
    assert rounds == 1
    assert len(layer.channels) == MANY


async def test_what_is_for_several_hubs_goes_to_a_relay_as_one_parcel() -> None:
    """Where the layer tells which relays are in a hub's group."""
    layer = InMemoryLayer(InMemoryChannelLayer())
    sender = Sender(layer, MemoryStore(), always_room)
    one, other = await layer.new_channel(), await layer.new_channel()
    for hub, channel in (("a", one), ("b", one), ("b", other)):
        await layer.group_add(group_name(hub), channel)
    await sent(
        sender.broadcast(Entry("a", "1")),
        sender.broadcast(Entry("b", "2")),
        sender.direct(one, to_one("3")),
        sender.broadcast(Entry("b", "4")),
        sender.broadcast(Entry("nobody's", "5")),
    )
    assert [entry.frame for entry in unpack(await layer.receive(one))] == ["1", "2", "3", "4"]
    assert [entry.frame for entry in unpack(await layer.receive(other))] == ["2", "4"]


async def test_a_layer_that_can_not_tell_its_groups_now_is_asked_again() -> None:
    layer = InMemoryLayer(InMemoryChannelLayer())
    channel = await layer.new_channel()
    await layer.group_add(group_name("a"), channel)
    told, tries = layer.routes, []

    async def routes(groups: Any) -> Any:
        tries.append(groups)
        if len(tries) < 3:
            raise Unavailable("not now")
        return await told(groups)

    layer.routes = routes  # type: ignore[method-assign]
    await sent(Sender(layer, MemoryStore(), always_room).broadcast(Entry("a", "1")))
    assert [entry.frame for entry in unpack(await layer.receive(channel))] == ["1"]
    tries.clear()
    error = await Sender(layer, MemoryStore(), always_room, patience=0.0).broadcast(Entry("a", "2"))
    assert isinstance(error, Unavailable)


async def test_giving_up_a_call_takes_nothing_back(layer: FaultyLayer, sender: Sender) -> None:
    sending = asyncio.create_task(sent(sender.direct(US, to_one("one"))))
    await asyncio.sleep(0)
    sending.cancel()
    await asyncio.wait([sending])
    await sender.idle()
    assert await arrived(layer) == [["one"]]


async def test_two_senders_are_heard_in_one_order_also_where_they_send_much(layer: FaultyLayer) -> None:
    """What is cut into parts is cut at the same entries for all relays."""
    inner = InMemoryLayer(InMemoryChannelLayer())
    one, other = await inner.new_channel(), await inner.new_channel()
    for hub, channel in (("a", one), ("b", one), ("b", other)):
        await inner.group_add(group_name(hub), channel)
    puts = []
    deliver = inner.deliver

    async def noted(messages: Any) -> Any:
        puts.append({target.name: [entry.frame for entry in unpack(m)] for target, m in messages.items()})
        return await deliver(messages)

    inner.deliver = noted  # type: ignore[method-assign]
    sender = Sender(inner, MemoryStore(), always_room)
    entries = [Entry("a", f"a{n}") for n in range(module._ENTRIES)] + [Entry("b", "b1"), Entry("b", "b2")]
    await sent(*map(sender.broadcast, entries))
    assert [put.get(other) for put in puts] == [None, ["b1", "b2"]]
    assert puts[1][one] == ["b1", "b2"]


async def test_what_is_sent_again_after_a_lost_reply_has_the_same_number(layer: FaultyLayer) -> None:
    inner, replies = layer.inner.send, iter([True, False])

    async def send(channel: str, message: Any) -> None:
        await inner(channel, message)
        if next(replies):
            raise ConnectionError("the reply was lost")

    layer.send = send  # type: ignore[method-assign]
    await sent(Sender(Layer(layer), MemoryStore(), always_room).direct(US, to_one("one")))
    first, again = [await layer.inner.receive(US) for _ in range(2)]
    assert first == again
    assert first["number"]


# Numbers


class Taker:
    """A relay that takes at once, while it has room."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.is_full = False

    async def room(self) -> None:
        """There is."""

    def put(self, entries: Any) -> None:
        self.entries += entries


async def inside(store: MemoryStore) -> tuple[Sender, Taker, InMemoryLayer, str]:
    """A sender, and a relay in the same process."""
    layer, taker = InMemoryLayer(InMemoryChannelLayer()), Taker()
    channel = await layer.new_channel()
    await layer.group_add(group_name("a"), channel)
    layer.taken_by(channel, taker)
    return Sender(layer, store, always_room), taker, layer, channel


def member(client_id: str, connection: str) -> Join:
    return Join(
        hub="a", client_id=client_id, connection=connection, process=US, events="e", who="{}", at=0, body=""
    )


def seqs(entries: list[Entry]) -> list[tuple[Any, int]]:
    return [(entry.frame, entry.seq) for entry in entries]


async def test_broadcasts_are_numbered_and_kept(layer: FaultyLayer) -> None:
    store = FaultyStore()
    sender = Sender(Layer(layer), store, always_room)
    await layer.group_add(group_name("a"), US)
    await sent(
        sender.broadcast(Entry("a", "1")),
        sender.broadcast(Entry("a", "droppable"), numbered=False),
        sender.broadcast(Entry("a", Close(4000))),
        sender.broadcast(Entry("a", "2")),
    )
    entries = unpack(await layer.receive(US))
    assert seqs(entries) == [("1", 1), ("droppable", 0), (Close(4000), 0), ("2", 2)]
    history = await store.history("a", 0)
    assert entries[0].epoch == history.epoch
    assert [from_item("a", history.epoch, *item) for item in history.items] == [entries[0], entries[3]]
    assert store.calls.count("publish") == 1


async def test_a_number_that_may_have_been_given_is_asked_for_again(layer: FaultyLayer) -> None:
    store = FaultyStore()
    store.lost["publish"] = 2
    await layer.group_add(group_name("a"), US)
    await sent(Sender(Layer(layer), store, always_room).broadcast(Entry("a", "1")))
    assert seqs(unpack(await layer.receive(US))) == [("1", 1)]
    assert (await store.history("a", 0)).seq == 1


async def test_without_the_store_what_needs_no_number_goes(layer: FaultyLayer) -> None:
    store = FaultyStore()
    store.fail["publish"] = [Unavailable("gone")]
    sender = Sender(Layer(layer), store, always_room, patience=-1.0)
    one, two = await asyncio.gather(sender.broadcast(Entry("a", "1")), sender.direct(US, to_one("2")))
    assert isinstance(one, Unavailable)
    assert two is None
    assert await arrived(layer) == [["2"]]


async def test_that_a_client_which_moved_can_not_be_reached_is_told(layer: FaultyLayer) -> None:
    store = FaultyStore()
    await store.apply([member("ann", "s.2")])
    layer.fail["send"] = 1
    sender = Sender(Layer(layer), store, always_room, patience=-1.0)
    before = Entry("a", "hi", Scope.ONLY, ("s.1",))
    assert isinstance(await sender.direct("specific.before!1", before, "ann"), Unavailable)
    assert ("send", US) in layer.calls


async def test_a_damaged_log_fails_its_own_alone(layer: FaultyLayer) -> None:
    store = FaultyStore()
    store.damaged.add("a")
    await layer.group_add(group_name("b"), US)
    sender = Sender(Layer(layer), store, always_room)
    one, two = await asyncio.gather(sender.broadcast(Entry("a", "1")), sender.broadcast(Entry("b", "2")))
    assert isinstance(one, Damaged)
    assert two is None
    assert await arrived(layer) == [["2"]]
    sender, taker, *_ = await inside(store)
    assert isinstance(await sender.broadcast(Entry("a", "1")), Damaged)
    assert taker.entries == []


async def test_a_bug_of_the_store_is_told(layer: FaultyLayer) -> None:
    store = FaultyStore()
    store.fail["publish"] = [KeyError("bug")]
    with pytest.raises(KeyError):
        await Sender(Layer(layer), store, always_room).broadcast(Entry("a", "1"))


async def test_to_one_client_with_a_session_it_is_of_its_own_log(layer: FaultyLayer) -> None:
    store = FaultyStore()
    await store.apply([member("ann", "s.1"), member("bob", "raw")])
    sender = Sender(Layer(layer), store, always_room)

    def to(connection: str, frame: Any) -> Entry:
        return Entry("a", frame, Scope.ONLY, (connection,))

    await sent(
        sender.direct(US, to("s.1", "1"), "ann"),
        sender.direct(US, to("raw", "raw"), "bob"),
        sender.direct(US, to("t.1", "gone"), "cy"),
        sender.direct(US, to("s.1", "2"), "ann"),
        sender.direct(US, to("s.1", Close(4000)), "ann"),
        sender.direct(US, to("s.1", Close(4409))),
    )
    entries = unpack(await layer.receive(US))
    assert [(entry.ids[0], entry.seq, entry.epoch) for entry in entries] == [
        ("s", 1, ""),
        ("raw", 0, ""),
        ("t", 0, ""),
        ("s", 2, ""),
        ("s", 0, ""),
        ("s.1", 0, ""),
    ]
    assert (await store.sent("a", "ann", 0)).seq == 2


async def test_inside_one_process_numbers_cost_no_waiting() -> None:
    store = MemoryStore()
    sender, taker, *_ = await inside(store)
    done = [sender.broadcast(Entry("a", text)) for text in "12"]
    assert seqs(taker.entries) == [("1", 1), ("2", 2)]
    assert [future.result() for future in done] == [None, None]


async def test_a_number_that_was_given_is_not_lost_where_the_relay_is_full() -> None:
    store = MemoryStore()
    sender, taker, layer, channel = await inside(store)
    taker.is_full = True
    first = sender.broadcast(Entry("a", "1"))
    taker.is_full = False
    await sent(first, sender.broadcast(Entry("a", "2")))
    assert taker.entries == []
    assert seqs(unpack(await layer.receive(channel))) == [("1", 1), ("2", 2)]


async def test_a_store_that_has_to_wait_is_waited_for() -> None:
    class Slow(MemoryStore):
        async def publish(self, publications: Any) -> Any:
            await asyncio.sleep(0)
            return await super().publish(publications)

    failing = FaultyStore()
    failing.fail["publish"] = [Unavailable("gone")]
    for store in (Slow(), failing):
        sender, _, layer, channel = await inside(store)
        await sent(sender.broadcast(Entry("a", "1")))
        assert seqs(unpack(await layer.receive(channel))) == [("1", 1)]


# The pure parts

hubs = st.sampled_from(["a", "b", "c"])
processes = st.sampled_from(["p.1", "p.2"])
items = st.lists(
    st.one_of(
        hubs.map(lambda hub: (hub, Target(group_name(hub), is_group=True))),
        st.tuples(hubs, processes.map(Target)),
    ),
    max_size=40,
)


Sent = list[tuple[Target, Entry]]


def addressed(calls: list[tuple[str, Target]]) -> list[_Addressed]:
    return [_Addressed((target,), Entry(hub, str(number))) for number, (hub, target) in enumerate(calls)]


def heard(sent: Sent, hub: str, process: str) -> list[Any]:
    """What the clients of a hub in a process get, when entries are sent in this order."""
    return [
        entry.frame
        for target, entry in sent
        if entry.hub == hub and (target.is_group or target.name == process)
    ]


def all_puts(calls: list[tuple[str, Target]]) -> list[dict[Target, list[Entry]]]:
    return [put for stage in _stages(addressed(calls)) for put in _puts(stage)]


@given(items, st.booleans())
def test_puts_change_no_order_that_a_client_can_see(
    calls: list[tuple[str, Target]], backwards: bool
) -> None:
    """The targets of one put are sent to at the same time: whichever is first, the same is heard."""
    sent: Sent = []
    for put in all_puts(calls):
        for target in reversed(put) if backwards else put:
            sent += [(target, entry) for entry in put[target]]
    asked = [(item.targets[0], item.entry) for item in addressed(calls)]
    for hub, process in itertools.product("abc", ("p.1", "p.2")):
        assert heard(sent, hub, process) == heard(asked, hub, process)


@given(items)
def test_puts_lose_and_double_nothing(calls: list[tuple[str, Target]]) -> None:
    frames = [entry.frame for put in all_puts(calls) for entries in put.values() for entry in entries]
    assert sorted(frames) == sorted(item.entry.frame for item in addressed(calls))


def test_one_hubs_entries_of_one_kind_are_one_stage() -> None:
    target = Target(group_name("a"), is_group=True)
    assert len(_stages([_Addressed((target,), Entry("a", str(n))) for n in range(5)])) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 200_000), st.sets(st.sampled_from("xyz"), min_size=1)),
        min_size=1,
        max_size=30,
    )
)
def test_parts_are_bounded_keep_the_order_and_are_cut_for_all_at_once(
    made: list[tuple[int, set[str]]],
) -> None:
    stage = [_Addressed(tuple(map(Target, sorted(to))), Entry("a", "x" * size)) for size, to in made]
    puts = list(_puts(stage))
    for name in "xyz":
        mine = [entry for put in puts for entry in put.get(Target(name), [])]
        assert mine == [item.entry for item in stage if Target(name) in item.targets]
    for put in puts:
        for part in put.values():
            assert len(part) == 1 or sum(entry.size for entry in part) <= module._BYTES
    places = [{id(entry) for part in put.values() for entry in part} for put in puts]
    for item in stage:
        assert sum(id(item.entry) in place for place in places) == 1


def test_a_part_has_a_bounded_number_of_entries() -> None:
    stage = [_Addressed((Target(US),), Entry("a", ""))] * (module._ENTRIES + 1)
    assert [len(put[Target(US)]) for put in _puts(stage)] == [module._ENTRIES, 1]
