"""The clients of a process: how they join, post and leave, and what else can end them."""

import asyncio
import gc
from typing import Any

import pytest

from django_hub import clients as module
from django_hub import connection as connections
from django_hub.departures import Departure
from django_hub.entries import Entry
from django_hub.events import read_body
from django_hub.exceptions import Damaged, Unavailable
from django_hub.groups import _Group
from django_hub.names import group_name
from django_hub.stores.memory import MemoryStore
from django_hub.wires.base import Outgoing
from tests.apps import GONE, FaultyStore, Line, World, declare_all_dead, mail, make_connection
from tests.apps import make as make
from tests.apps import store as store
from tests.apps import world as world
from tests.sockets import turns, until


async def test_a_client_joins_posts_and_leaves(make: Any, store: FaultyStore) -> None:
    ann = make("ann")
    assert await ann.join() is True
    assert await ann.post("hi") is True
    await ann.leave()
    assert await mail(store) == [("joined", "ann"), ("message", "ann", "hi"), ("left", "ann", "close")]


async def test_clients_join_in_the_order_they_came(make: Any, store: FaultyStore) -> None:
    names = [f"client {number:02}" for number in range(20)]
    await asyncio.gather(*(make(name).join() for name in names))
    assert await mail(store) == [("joined", name) for name in names]


async def test_who_is_in_a_hub_hears_its_group(make: Any, world: World) -> None:
    ann = make("ann")
    await ann.join()
    await world.relay.sender.broadcast(Entry("lobby", "hello"))
    await world.relay.idle()
    assert ann.line.frames == ["hello"]


async def test_one_group_membership_for_all_clients_of_a_hub(make: Any, world: World) -> None:
    clients = [make(str(number)) for number in range(10)]
    for client in clients:
        await client.join()
    assert len(world.layer.groups[group_name("lobby")]) == 1
    for client in clients[1:]:
        await client.leave()
    assert len(world.layer.groups[group_name("lobby")]) == 1
    await clients[0].leave()
    await world.relay.close()
    assert world.layer.groups == {}


async def test_leaving_twice_is_told_once(make: Any, store: FaultyStore) -> None:
    ann = make("ann")
    await ann.join()
    await ann.leave(Departure(reason="slow"))
    await ann.leave(GONE)
    assert await mail(store) == [("joined", "ann"), ("left", "ann", "slow")]


async def test_a_post_after_leaving_is_refused(make: Any, store: FaultyStore) -> None:
    ann = make("ann")
    await ann.join()
    await ann.leave()
    assert await ann.post("late") is False
    assert await mail(store) == [("joined", "ann"), ("left", "ann", "close")]


async def test_posts_keep_the_order_of_the_calls(make: Any, store: FaultyStore) -> None:
    ann = make("ann")
    await ann.join()
    await asyncio.gather(*(ann.post(str(number)) for number in range(15)))
    assert await mail(store) == [("joined", "ann"), *(("message", "ann", str(n)) for n in range(15))]


async def test_a_full_mailbox_holds_a_post_back_and_loses_nothing(make: Any, store: FaultyStore) -> None:
    ann = make("ann")
    await ann.join()
    for number in range(store.limits.mailbox - 1):
        await ann.post(str(number))
    applied = len(store.applied)
    waiting = asyncio.create_task(ann.post("at last"))
    await until(lambda: len(store.applied) > applied + 1)
    assert not waiting.done()
    assert len(await mail(store)) == store.limits.mailbox
    assert await waiting is True
    assert await mail(store) == [("message", "ann", "at last")]


async def test_a_leave_passes_a_full_mailbox_and_ends_the_wait(make: Any, store: FaultyStore) -> None:
    ann = make("ann")
    await ann.join()
    for number in range(store.limits.mailbox - 1):
        await ann.post(str(number))
    waiting = asyncio.create_task(ann.post("never"))
    await turns()
    await ann.leave()
    assert await waiting is False
    assert (await mail(store))[-2:] == [("message", "ann", "18"), ("left", "ann", "close")]


async def test_a_post_given_up_costs_the_next_one_nothing(make: Any, store: FaultyStore) -> None:
    """The first may stand in the mailbox or not; what was accepted after it must."""
    ann = make("ann")
    await ann.join()
    first = asyncio.create_task(ann.post("given up"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert await ann.post("next") is True
    assert (await mail(store))[-1] == ("message", "ann", "next")


async def test_a_join_given_up_is_followed_by_its_leave(
    make: Any, world: World, store: FaultyStore
) -> None:
    ann = make("ann")
    joining = asyncio.create_task(ann.join())
    await until(lambda: ann.connection.joined is not None)
    joining.cancel()
    await asyncio.wait([joining])
    await ann.leave()
    assert await mail(store) == [("joined", "ann"), ("left", "ann", "close")]


async def test_who_leaves_before_it_joined_is_never_told_of(
    make: Any, world: World, store: FaultyStore
) -> None:
    world.layer.gates["group_add"] = asyncio.Event()
    ann = make("ann")
    joining = asyncio.create_task(ann.join())
    await until(lambda: any(call[0] == "group_add" for call in world.layer.calls))
    await ann.leave()
    world.layer.gates["group_add"].set()
    assert await joining is False
    assert await mail(store) == []
    await world.relay.close()
    assert world.layer.groups == {}


async def test_who_leaves_while_the_relay_starts_leaves_nothing_behind(make: Any, world: World) -> None:
    gate = world.layer.gates["new_channel"] = asyncio.Event()
    ann = make("ann")
    joining = asyncio.create_task(ann.join())
    await until(lambda: world.layer.calls)
    joining.cancel()
    await asyncio.wait([joining])
    left = asyncio.create_task(ann.leave())
    await turns()
    gate.set()
    await left
    await world.relay.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_was_no_member_yet_is_not_waited_for(make: Any, world: World) -> None:
    gate = world.layer.gates["new_channel"] = asyncio.Event()
    ann = make("ann")
    ann.connection.grace = 60.0
    joining = asyncio.create_task(ann.join())
    await until(lambda: world.layer.calls)
    joining.cancel()
    await asyncio.wait([joining])
    left = world.relay.clients.leave(ann.connection, Departure(reason="read"))
    gate.set()
    await left
    await world.relay.close()
    assert len(world.relay.clients) == 0


async def test_who_joins_while_the_layer_cancels_a_call_of_its_own_is_a_member(
    make: Any, world: World, store: FaultyStore
) -> None:
    add, cancelled = world.layer.inner.group_add, []

    async def cancels(group: str, channel: str) -> None:
        if not cancelled:
            cancelled.append(group)
            raise asyncio.CancelledError
        await add(group, channel)

    world.layer.inner.group_add = cancels
    ann = make("ann")
    assert await ann.join() is True
    assert cancelled
    assert await store.member("lobby", "ann") is not None


async def test_clients_wait_to_join_while_the_store_is_gone(
    make: Any, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.fail["beat"] = [Unavailable("gone"), Unavailable("gone")]
    assert await asyncio.gather(make("ann").join(), make("bob").join()) == [True, True]
    assert await mail(store) == [("joined", "ann"), ("joined", "bob")]
    assert caplog.text.count("Clients wait to join: gone") == 2


async def test_a_relay_that_can_not_start_says_so_and_can_later(make: Any, store: FaultyStore) -> None:
    store.fail["beat"] = [KeyError("bug")]
    ann = make("ann")
    with pytest.raises(KeyError):
        await ann.join()
    await ann.leave()
    assert await make("bob").join() is True
    assert await mail(store) == [("joined", "bob")]


# Replaced


async def test_the_newer_connection_of_an_id_stays(make: Any, world: World, store: FaultyStore) -> None:
    old, new = make("ann"), make("ann")
    await old.join()
    assert await new.join() is True
    await world.relay.idle()
    assert old.line.frames == [4409]
    assert new.line.frames == []
    await old.leave()
    assert await mail(store) == [("joined", "ann"), ("left", "ann", "replaced"), ("joined", "ann")]
    assert (await store.member("lobby", "ann")).connection == new.connection.id


async def test_a_post_of_the_older_one_is_refused(make: Any, store: FaultyStore) -> None:
    old, new = make("ann"), make("ann")
    await old.join()
    await new.join()
    assert await old.post("late") is False
    assert await mail(store) == [("joined", "ann"), ("left", "ann", "replaced"), ("joined", "ann")]


async def test_many_at_once_leave_one(make: Any, world: World, store: FaultyStore) -> None:
    clients = [make("ann") for _ in range(6)]
    await asyncio.gather(*(client.join() for client in clients))
    await world.relay.idle()
    assert [client.line.frames for client in clients] == [[4409]] * 5 + [[]]
    events = [each[0] for each in await mail(store)]
    assert events == ["joined", *(["left", "joined"] * 5)]


# What ends a connection from within


async def test_a_slow_client_is_closed_and_gives_back_what_it_did_not_take(
    make: Any, world: World, store: FaultyStore
) -> None:
    line = Line()
    ann, bob = make("ann", line=line, max_queue_messages=3), make("bob")
    await ann.join()
    await bob.join()
    await store.mail("lobby")
    line.taking.clear()
    texts = [str(number) for number in range(10)]
    for text in texts:
        await world.relay.sender.broadcast(Entry("lobby", text))
    await until(lambda: ann.connection.left is not None)
    await ann.connection.left
    (body,) = await store.mail("lobby")
    left = read_body("lobby", 0, body)
    assert (left.reason, left.code) == ("slow", 4008)
    assert left.undelivered == ("0", "1", "2", "3")
    await world.relay.idle()
    assert bob.line.frames == texts
    line.taking.set()
    await until(lambda: line.frames == [4008])


async def test_a_failed_write_gives_the_reader_a_moment_and_then_leaves(
    make: Any, world: World, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WORD_OF_READER", 0.05)
    ann = make("ann")
    await ann.join()
    await store.mail("lobby")
    ann.line.broken = ConnectionResetError("peer reset")
    for text in ("1", "2", "3"):
        await world.relay.sender.broadcast(Entry("lobby", text))
    await world.relay.idle()
    assert ann.connection.left is None
    await until(lambda: ann.connection.left is not None)
    await ann.connection.left
    (body,) = await store.mail("lobby")
    left = read_body("lobby", 0, body)
    assert (left.reason, left.error) == ("write", "ConnectionResetError: peer reset")
    assert left.undelivered == ("1", "2", "3")


async def test_a_reader_that_knows_better_has_the_word(
    make: Any, world: World, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WORD_OF_READER", 0.01)
    ann = make("ann")
    await ann.join()
    await store.mail("lobby")
    ann.line.broken = OSError("gone")
    await world.relay.sender.broadcast(Entry("lobby", "1"))
    await world.relay.idle()
    await ann.leave(Departure(reason="close", code=1001))
    (body,) = await store.mail("lobby")
    left = read_body("lobby", 0, body)
    assert (left.reason, left.code, left.undelivered) == ("close", 1001, ("1",))
    await asyncio.sleep(0.03)  # past the moment: nothing more is told
    assert await store.mail("lobby") == []


async def test_a_broken_connection_that_is_gone_is_not_held(
    world: World, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WORD_OF_READER", 0.0)
    loose = make_connection("loose")
    world.relay.clients._ended(loose, Departure(reason="write"))
    del loose
    gc.collect()
    await asyncio.sleep(0.01)
    assert len(world.relay.clients) == 0


# Declared dead


async def test_a_process_declared_dead_joins_its_members_again(
    make: Any, world: World, store: FaultyStore, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ann", "bob"):
        await make(name).join()
    await declare_all_dead(store)
    assert await store.count("lobby") == 0
    await world.relay.beat()
    assert await store.count("lobby") == 2
    assert sorted((await mail(store))[-2:]) == [("joined", "ann"), ("joined", "bob")]
    assert "declared dead" in caplog.text


async def test_a_process_learns_that_it_was_declared_dead_also_when_the_reply_is_lost(
    make: Any, world: World, store: FaultyStore
) -> None:
    await make("ann").join()
    await declare_all_dead(store)
    store.lost = {"beat": 1}
    with pytest.raises(Unavailable):
        await world.relay.beat()
    await world.relay.beat()
    assert await store.count("lobby") == 1


async def test_a_beat_of_a_living_process_changes_nothing(
    make: Any, world: World, store: FaultyStore
) -> None:
    await make("ann").join()
    await store.mail("lobby")
    await world.relay.beat()
    assert await store.mail("lobby") == []


async def test_a_post_finds_out_that_the_process_was_declared_dead(make: Any, store: FaultyStore) -> None:
    ann = make("ann")
    await ann.join()
    await ann.post("1")
    await declare_all_dead(store)
    assert await ann.post("2") is True
    assert await mail(store) == [
        ("joined", "ann"),
        ("message", "ann", "1"),
        ("left", "ann", "lost"),
        ("joined", "ann"),
        ("message", "ann", "2"),
    ]


async def test_who_came_back_elsewhere_meanwhile_stays(make: Any, world: World, store: FaultyStore) -> None:
    old = make("ann")
    await old.join()
    await declare_all_dead(store)
    elsewhere = make_connection("ann")
    await store.apply([elsewhere.join_op("another process")])
    await world.relay.beat()
    assert old.line.frames == [4409]
    assert (await store.member("lobby", "ann")).connection == elsewhere.id
    await store.apply([elsewhere.leave_op(GONE, [])])


async def test_who_leaves_while_its_post_learns_that_it_is_lost_stays_gone(
    make: Any, world: World, store: FaultyStore
) -> None:
    """A Join that follows its own Leave would be a member that never leaves."""
    ann = make("ann")
    await ann.join()
    await declare_all_dead(store)
    store.line = asyncio.Event()
    calls = len(store.applied)
    posting = asyncio.create_task(ann.post("hi"))
    await until(lambda: len(store.applied) > calls)
    leaving = asyncio.create_task(ann.leave(Departure(reason="slow")))
    await turns()
    store.line.set()
    await asyncio.gather(leaving, posting)
    await world.relay.idle()
    assert await store.member("lobby", "ann") is None


async def test_a_join_under_way_at_the_beat_still_replaces_the_older_connection(
    make: Any, world: World, store: FaultyStore
) -> None:
    old, new = make("ann"), make("ann", hub="lobby")
    await old.join()
    await declare_all_dead(store)
    joining = asyncio.create_task(new.join())
    await world.relay.beat()
    assert await joining is True
    await world.relay.idle()
    assert (await store.member("lobby", "ann")).connection == new.connection.id


async def test_two_who_find_out_at_once_that_it_is_lost_tell_of_it_once(
    make: Any, world: World, store: FaultyStore
) -> None:
    """The beat and a post."""
    ann = make("ann")
    await ann.join()
    await declare_all_dead(store)
    await asyncio.gather(ann.post("hi"), world.relay.beat())
    events = [each[:2] for each in await mail(store)]
    assert events.count(("joined", "ann")) == 2
    assert events.count(("left", "ann")) == 1


# All of them


async def test_all_leave_when_the_server_ends(make: Any, world: World, store: FaultyStore) -> None:
    for name in ("ann", "bob"):
        await make(name).join()
    await mail(store)
    await world.relay.shut_down()
    assert sorted(await mail(store)) == [("left", "ann", "shutdown"), ("left", "bob", "shutdown")]
    assert len(world.relay.clients) == 0


async def test_a_server_that_ends_waits_for_nobody_to_come_back(
    make: Any, world: World, store: FaultyStore
) -> None:
    """Neither for who was lost before, nor for who is now: its members are others' to reap."""
    ann, bob = make("ann"), make("bob")
    for client in (ann, bob):
        client.connection.grace = 60.0
        await client.join()
    await world.relay.clients.leave(ann.connection, Departure(reason="read"))
    await mail(store)
    assert len(world.relay.clients) == 2
    await world.relay.shut_down()
    assert len(world.relay.clients) == 0
    assert [member.state for member in await store.members("lobby")] == ["lost", "lost"]
    await store.apply([client.connection.leave_op(GONE, []) for client in (ann, bob)])


async def test_a_bug_in_the_store_at_the_leave_does_not_keep_the_relay_running(
    make: Any, world: World, store: FaultyStore
) -> None:
    ann = make("ann")
    await ann.join()
    await mail(store)
    store.fail["apply"] = [KeyError("bug")]
    left = world.relay.clients.leave(ann.connection, GONE)
    await asyncio.wait([left])
    assert isinstance(left.exception(), KeyError)
    assert len(world.relay.clients) == 0
    await world.relay.close()
    await store.apply([ann.connection.leave_op(GONE, [])])


async def test_a_slow_client_that_does_not_answer_to_its_end_is_cancelled(
    make: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LAST_WORDS", 0.01)
    ann = make("ann", max_queue_messages=1)
    await ann.join()
    reader = ann.connection.reader = asyncio.create_task(asyncio.Event().wait())  # type: ignore[assignment]
    ann.connection.listening = True
    ann.line.taking.clear()
    for text in ("1", "2", "3"):
        await world.relay.sender.broadcast(Entry("lobby", text))
    await until(lambda: reader.cancelled())


async def test_a_slow_client_whose_consumer_is_done_is_cancelled_no_more(
    make: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task is its server's again, which may still have something to do in it."""
    monkeypatch.setattr(connections, "_LAST_WORDS", 0.01)
    ann = make("ann", max_queue_messages=1)
    await ann.join()
    reader = ann.connection.reader = asyncio.create_task(asyncio.Event().wait())  # type: ignore[assignment]
    ann.connection.listening = True
    ann.line.taking.clear()
    for text in ("1", "2", "3"):
        ann.connection.write(Outgoing(text))
    assert ann.connection.left is not None
    ann.connection.reader = None  # in the same step: no timer can come between
    await asyncio.sleep(0.03)  # past the last words
    assert not reader.cancelled()
    reader.cancel()
    await asyncio.wait([reader])


async def test_who_is_replaced_before_it_knows_that_it_joined_is_closed(
    make: Any, world: World, store: FaultyStore
) -> None:
    """Its own call is answered late: a newer connection has its id by then."""
    store.line = asyncio.Event()
    old = make("ann")
    joining = asyncio.create_task(old.join())
    await until(lambda: store.applied)
    await MemoryStore.apply(store, store.applied[0])  # the call whose reply is lost; the next repeats it
    newer = make_connection("ann")
    await MemoryStore.apply(store, [newer.join_op("another process")])
    store.line.set()
    assert await joining is False
    await world.relay.idle()
    assert old.line.frames == [4409]
    assert await mail(store) == [("joined", "ann"), ("left", "ann", "replaced"), ("joined", "ann")]
    await store.apply([newer.leave_op(GONE, [])])


async def test_a_hub_whose_group_is_damaged_lets_the_others_join(make: Any, world: World) -> None:
    enter = world.relay.groups.enter

    async def damaged(group: str, channel: str) -> None:
        if group == group_name("cellar"):
            world.relay.groups._groups.setdefault(group, _Group()).users += 1
            raise Damaged("not ours")
        await enter(group, channel)

    world.relay.groups.enter = damaged  # type: ignore[method-assign]
    ann, bob = make("ann", hub="cellar"), make("bob")
    joining = asyncio.create_task(ann.join())
    assert await bob.join()
    with pytest.raises(Damaged):
        await joining
    await ann.leave()


class Sips(Line):
    """Takes one message a sip."""

    def __init__(self) -> None:
        super().__init__()
        self.sips = asyncio.Semaphore(0)

    async def __call__(self, message: dict[str, Any]) -> None:
        await self.sips.acquire()
        await super().__call__(message)


async def test_one_that_goes_on_taking_what_was_sent_before_its_close_is_not_cut_off(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Any] = []
    look, line = connections._look, Sips()
    monkeypatch.setattr(connections, "_LAST_WORDS", 0.0)
    monkeypatch.setattr(connections, "_look", lambda *given: looks.append(given))
    ann = make("ann", line=line)
    await ann.join()
    reader = ann.connection.reader = asyncio.create_task(asyncio.Event().wait())  # type: ignore[assignment]
    ann.connection.listening = True
    ann.connection.write(Outgoing(*["x" * 10] * 3))
    ann.connection.close(4000)
    for left in (2, 1):
        line.sips.release()
        await until(lambda left=left: ann.connection.wire.waiting_frames == left + 1)
        await until(lambda: looks)
        look(*looks.pop())
        await turns()
        assert not reader.cancelling(), left
    await until(lambda: looks)
    look(*looks.pop())
    await until(lambda: reader.cancelled())
    line.sips.release()
    line.sips.release()
