"""The contract of a store, as tests: every promise of `django_hub.stores.base` and `django_hub.stores.ops`.

A store passes by a subclass of `StoreContract` that makes it::

    class TestMyStore(StoreContract):
        unit = 0.05

        @pytest.fixture
        async def store(self):
            store = MyStore(limits_for(self.unit))
            yield store
            await store.close()

        async def advance(self, seconds):
            await asyncio.sleep(seconds)

        def now(self):
            return time.time()

All times are multiples of ``unit``, in seconds: a store with a clock of its own is really waited for.
"""

import asyncio

import pytest

from django_hub.events import (
    Joined,
    Left,
    Lost,
    Message,
    Resumed,
    Updated,
    describe,
    joined_body,
    left_body,
    message_body,
    read_body,
)
from django_hub.limits import Limits
from django_hub.members import Member
from django_hub.stores.base import Store
from django_hub.stores.ops import (
    Address,
    Claim,
    Commit,
    DeadLetter,
    History,
    HubRecord,
    Join,
    Lease,
    Leave,
    Number,
    Outcome,
    Post,
    Publication,
)

DONE, FULL, UNKNOWN, REPLACED = Outcome.DONE, Outcome.FULL, Outcome.UNKNOWN, Outcome.REPLACED
HELD, FREE, LOST = Lease.HELD, Lease.FREE, Lease.LOST

# Names that a store might spoil: as a key, a pattern, a hash tag, a separator, or by their length.
ODD_NAMES = [
    "{tag}",
    "a:b",
    "*",
    "a b\n",
    "..",
    "%s",
    "é🐙",
    "٣",
    "a" * 200,
    "🐙" * 200,
    '"',
    "\\",
    "-",
    "0",
]


def limits_for(unit: float) -> Limits:
    """Leases of 10 units, rung again after 5; and few of everything, so that limits are reached soon."""
    return Limits(
        process_lease=10 * unit,
        hub_lease=10 * unit,
        ring_again=5 * unit,
        batch=3,
        mailbox=6,
        dead_letters=4,
        dead_letter_ttl=20 * unit,
        history_size=3,
        history_ttl=4 * unit,
    )


def join(
    hub="lobby",
    client="ann",
    connection=None,
    process="p1",
    *,
    events="hub-events",
    user_id=None,
    meta=None,
    at=1.5,
    again="",
    posted=0,
):
    who = describe(client, user_id, {} if meta is None else meta)
    return Join(
        hub=hub,
        client_id=client,
        connection=connection or f"{client!a}-1",
        process=process,
        events=events,
        who=who,
        at=at,
        body=joined_body(who, at),
        again=again,
        posted=posted,
    )


def post(number, hub="lobby", client="ann", connection=None, data=None, own=False):
    return Post(
        hub=hub,
        client_id=client,
        connection=connection or f"{client!a}-1",
        number=number,
        body=message_body(describe(client, None, {}), 2.5, str(number) if data is None else data),
        own=own,
    )


def leave(hub="lobby", client="ann", connection=None, process="p1"):
    return Leave(
        hub=hub,
        client_id=client,
        connection=connection or f"{client!a}-1",
        process=process,
        body=left_body(describe(client, None, {}), 3.5, "close", 1000),
    )


def say(event):
    """An event in short: ``+ann``, ``ann: 1``, ``-ann close``; ``~ann read``, ``=ann``, ``!ann``."""
    match event:
        case Joined():
            return f"+{event.client_id}"
        case Message():
            return f"{event.client_id}: {event.data}"
        case Left():
            return f"-{event.client_id} {event.reason}"
        case Lost():
            return f"~{event.client_id} {event.reason}"
        case Resumed():
            return f"={event.client_id}"
        case Updated():
            return f"!{event.client_id}"


def read(claim):
    return [say(read_body(claim.hub, letter.position, letter.body)) for letter in claim.batch]


async def claim(store, hub="lobby", worker="w1", **ring):
    (answer,) = await store.claim([hub], worker, **ring)
    return answer


async def commit(store, held, position=None, *, dead=(), release=False):
    """Commit a claim: all of its batch, or up to a position."""
    if position is None:
        position = held.batch[-1].position
    (answer,) = await store.commit([Commit(held.hub, held.token, position, tuple(dead), release)])
    return answer


async def drain(store, hub="lobby", worker="drain"):
    """Handle all mail of a hub: the events, oldest first."""
    events = []
    held = await claim(store, hub, worker)
    while held.lease is HELD:
        events += [read_body(hub, letter.position, letter.body) for letter in held.batch]
        held = await commit(store, held)
    return events


async def told(store, hub="lobby"):
    """`drain`, in short."""
    return [say(event) for event in await drain(store, hub)]


async def all_hubs(store, most=1000):
    found, after = [], ""
    while page := await store.hubs(after, most):
        assert len(page) <= most
        found += page
        after = page[-1].name
    return found


async def all_members(store, hub="lobby", most=1000):
    found, after = [], ""
    while page := await store.members(hub, after, most):
        assert len(page) <= most
        found += page
        after = page[-1].client_id
    return found


def names_of(records):
    return [record.name for record in records]


def letter_of(number, at, hub="lobby"):
    return DeadLetter(hub=hub, position=number, body=f"body {number}", error="ValueError: é", at=at)


class StoreContract:
    unit: float

    @pytest.fixture
    async def store(self):
        """An empty store with `limits_for(self.unit)`."""
        raise NotImplementedError

    async def advance(self, seconds):
        """Let so much time go by, by the store's clock."""
        raise NotImplementedError

    def now(self):
        """The store's time, in seconds since the epoch."""
        raise NotImplementedError

    async def units(self, count):
        await self.advance(count * self.unit)

    def test_it_is_a_store(self, store):
        assert isinstance(store, Store)
        assert store.limits == limits_for(self.unit)

    # Hubs

    async def test_an_empty_store_has_nothing(self, store):
        assert await store.hub("lobby") is None
        assert await store.hubs() == []
        assert await store.member("lobby", "ann") is None
        assert await store.members("lobby") == []
        assert await store.find("ann") is None
        assert await store.count("lobby") == 0
        assert await store.unclaimed() == []
        assert await store.waiting() == 0
        assert await store.reap() == []
        assert await store.dead_letters("lobby") == []

    async def test_asking_makes_no_hub(self, store):
        await store.hub("lobby")
        await store.members("lobby")
        await store.claim(["lobby"], "w1")
        await store.commit([Commit("lobby", "token", 1)])
        await store.renew([("lobby", "token")])
        await store.apply([post(1), leave()])
        assert await store.hubs() == []

    async def test_a_created_hub_is_there_without_members(self, store):
        record = HubRecord(name="lobby", events="hub-events", named=True)
        assert await store.create("lobby", None) == record
        assert await store.hub("lobby") == record
        assert await store.hubs() == [record]
        assert await store.count("lobby") == 0

    async def test_a_hub_is_created_with_its_events_channel(self, store):
        assert (await store.create("lobby", "chat-events")).events == "chat-events"
        assert (await store.hub("lobby")).events == "chat-events"

    async def test_created_again_with_other_events_it_has_these(self, store):
        await store.create("lobby", "chat-events")
        assert (await store.create("lobby", "game-events")).events == "game-events"
        assert (await store.hub("lobby")).events == "game-events"

    async def test_created_again_without_events_it_keeps_those_it_has(self, store):
        await store.create("lobby", "chat-events")
        assert (await store.create("lobby", None)).events == "chat-events"
        assert len(await store.hubs()) == 1

    async def test_a_hub_that_its_members_made_can_be_named(self, store):
        await store.apply([join(events="chat-events")])
        assert await store.hub("lobby") == HubRecord(name="lobby", events="chat-events", named=False)
        assert await store.create("lobby", None) == HubRecord(
            name="lobby", events="chat-events", named=True
        )
        assert await store.count("lobby") == 1

    async def test_creating_a_hub_is_no_event(self, store):
        await store.create("lobby", None)
        assert await store.waiting() == 0
        assert (await claim(store)).lease is FREE

    async def test_the_first_join_says_whose_worker_handles_an_unnamed_hub(self, store):
        await store.apply([join(events="chat-events"), join(client="bob", events="game-events")])
        assert (await store.hub("lobby")).events == "chat-events"

    async def test_a_join_does_not_change_the_events_of_a_created_hub(self, store):
        await store.create("lobby", "chat-events")
        applied = await store.apply([join(events="game-events")])
        assert applied.wakes == [("lobby", "chat-events")]

    async def test_a_created_hub_stays_when_its_last_member_and_event_are_gone(self, store):
        await store.create("lobby", None)
        await store.apply([join()])
        await store.apply([leave()])
        await drain(store)
        assert (await store.hub("lobby")).named

    async def test_an_unnamed_hub_vanishes_with_its_last_member_and_its_last_event(self, store):
        await store.apply([join()])
        await drain(store)
        assert await store.hub("lobby")
        await store.apply([leave()])
        assert await store.hub("lobby")
        await drain(store)
        assert await store.hub("lobby") is None
        assert await store.hubs() == []

    async def test_destroying_an_empty_hub_removes_it(self, store):
        await store.create("lobby", None)
        assert await store.destroy("lobby") is True
        assert await store.hub("lobby") is None

    async def test_destroying_what_is_not_there_says_so(self, store):
        assert await store.destroy("lobby") is False
        await store.create("lobby", None)
        await store.destroy("lobby")
        assert await store.destroy("lobby") is False

    async def test_a_destroyed_hub_stays_until_its_last_member_and_event_are_gone(self, store):
        await store.create("lobby", "chat-events")
        await store.apply([join()])
        assert await store.destroy("lobby") is True
        assert await store.hub("lobby") == HubRecord(name="lobby", events="chat-events", named=False)
        assert await told(store) == ["+ann"]
        assert await store.count("lobby") == 1
        await store.apply([leave()])
        assert await told(store) == ["-ann close"]
        assert await store.hub("lobby") is None

    async def test_a_hub_that_only_its_members_keep_can_be_destroyed_without_harm(self, store):
        await store.apply([join()])
        assert await store.destroy("lobby") is True
        assert await store.count("lobby") == 1
        assert await told(store) == ["+ann"]

    async def test_hubs_come_in_the_order_of_their_names_a_page_at_a_time(self, store):
        names = [f"hub {number}" for number in range(25)] + ["é", "Z", "a", "🐙", "\uffff"]
        for name in names:
            await store.create(name, None)
        assert names_of(await store.hubs()) == sorted(names)
        assert names_of(await store.hubs(most=2)) == sorted(names)[:2]
        assert names_of(await store.hubs(after="hub 3", most=2)) == ["hub 4", "hub 5"]
        assert await store.hubs(after="🐙") == []
        for most in (1, 7, 30):
            assert names_of(await all_hubs(store, most)) == sorted(names)

    async def test_a_page_begins_above_a_hub_that_is_gone(self, store):
        for name in "ac":
            await store.create(name, None)
        assert names_of(await store.hubs(after="b")) == ["c"]

    async def test_hubs_that_stay_are_paged_exactly_once_while_others_come_and_go(self, store):
        staying = [f"stays {number:02}" for number in range(10)]
        for name in [*staying, *(f"{name} goes" for name in staying)]:
            await store.create(name, None)
        seen, after = [], ""
        while page := await store.hubs(after, 3):
            seen += names_of(page)
            after = page[-1].name
            for name in staying:
                await store.destroy(f"{name} goes")
                await store.create(f"{name} has come", None)
                await store.create(f"before {name}", None)
        assert [name for name in seen if name in staying] == staying

    # Members

    async def test_a_member_is_as_its_join_said(self, store):
        meta = {"name": "Ånn", "tags": ["a", None, 1.5], "deep": {"": True}}
        await store.apply([join(connection="c1", process="p1", user_id="7", meta=meta, at=1234.5678)])
        member = Member(
            hub="lobby",
            client_id="ann",
            user_id="7",
            meta=meta,
            process="p1",
            connection="c1",
            at=1234.5678,
        )
        assert await store.member("lobby", "ann") == member
        assert await store.members("lobby") == [member]
        assert await store.find("ann") == member

    async def test_a_member_is_one_of_its_hub_only(self, store):
        await store.apply([join()])
        assert await store.member("cellar", "ann") is None
        assert await store.member("lobby", "bob") is None

    async def test_members_come_in_the_order_of_their_ids_a_page_at_a_time(self, store):
        ids = [f"client {number}" for number in range(25)] + ["é", "Z", "a", "🐙"]
        await store.apply([join(client=client) for client in ids])
        assert [member.client_id for member in await store.members("lobby")] == sorted(ids)
        assert [m.client_id for m in await store.members("lobby", "client 3", 2)] == [
            "client 4",
            "client 5",
        ]
        for most in (1, 7, 30):
            assert [m.client_id for m in await all_members(store, most=most)] == sorted(ids)

    async def test_members_that_stay_are_paged_exactly_once_while_others_come_and_go(self, store):
        staying = [f"stays {number:02}" for number in range(10)]
        await store.apply([join(client=name) for name in staying])
        await store.apply([join(client=f"{name} goes") for name in staying])
        seen, after = [], ""
        while page := await store.members("lobby", after, 3):
            seen += [member.client_id for member in page]
            after = page[-1].client_id
            await store.apply([leave(client=f"{name} goes") for name in staying])
            await store.apply([join(client=f"{name} has come") for name in staying])
            await store.apply([join(client=f"before {name}") for name in staying])
        assert [client for client in seen if client in staying] == staying

    async def test_find_gives_the_newest_member_of_that_id(self, store):
        await store.apply([join("a", connection="1"), join("b", connection="2"), join("c", connection="3")])
        assert (await store.find("ann")).hub == "c"
        await store.apply([leave("c", connection="3")])
        assert (await store.find("ann")).hub == "b"
        await store.apply([leave("a", connection="1")])
        assert (await store.find("ann")).hub == "b"
        await store.apply([leave("b", connection="2")])
        assert await store.find("ann") is None

    async def test_find_gives_a_member_that_replaced_an_older_one(self, store):
        await store.apply([join("a", connection="1"), join("b", connection="2", at=2.0)])
        await store.apply([join("a", connection="3", at=3.0)])
        assert (await store.find("ann")).connection == "3"

    async def test_the_newest_is_the_one_whose_socket_came_last(self, store):
        await store.apply([join("a", connection="1", at=3.0), join("b", connection="2", at=2.0)])
        assert (await store.find("ann")).hub == "a"

    async def test_find_is_not_misled_by_a_repeated_join(self, store):
        await store.apply([join("a", connection="1"), join("b", connection="2")])
        await store.apply([join("a", connection="1")])
        assert (await store.find("ann")).hub == "b"

    async def test_count_follows_joins_and_leaves(self, store):
        await store.apply([join(client="ann"), join(client="bob"), join("cellar", client="cat")])
        assert (await store.count("lobby"), await store.count("cellar")) == (2, 1)
        await store.apply([join(client="bob", connection="bob-2")])
        assert await store.count("lobby") == 2
        await store.apply([leave(client="ann"), leave(client="ann"), leave(client="nobody")])
        assert await store.count("lobby") == 1

    @pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:20])
    async def test_any_name_works_for_hubs_and_clients(self, store, name):
        await store.create(name, None)
        await store.apply([join("other", client="other"), join(name, client=name)])
        await store.apply([post(1, name, client=name)])
        assert (await store.find(name)).hub == name
        assert await store.count(name) == 1
        assert name in names_of(await store.hubs())
        assert [m.client_id for m in await store.members(name)] == [name]
        assert await told(store, name) == [f"+{name}", f"{name}: 1"]
        assert await told(store, "other") == ["+other"]
        await store.apply([leave(name, client=name)])
        await drain(store, name)
        await store.destroy(name)
        assert names_of(await store.hubs()) == ["other"]

    # The one ordered write path

    async def test_no_ops_have_no_outcomes(self, store):
        applied = await store.apply([])
        assert (applied.outcomes, applied.replaced, applied.wakes) == ([], [], [])

    async def test_each_op_has_its_outcome_in_order(self, store):
        await store.apply([join(client="old", connection="old-1")])
        applied = await store.apply(
            [
                join(client="ann"),
                post(1, client="ann"),
                post(1, client="nobody"),
                post(1, "nowhere"),
                join(client="old", connection="old-2"),
                post(1, client="old", connection="old-1"),
                post(1, client="old", connection="old-2"),
                post(2, client="old", connection="old-2"),
            ]
        )
        assert applied.outcomes == [DONE, DONE, UNKNOWN, UNKNOWN, DONE, REPLACED, DONE, FULL]

    async def test_joined_messages_and_left_stand_as_they_were_put(self, store):
        await store.apply([join(), post(1)])
        await store.apply([post(2), post(3)])
        await store.apply([leave()])
        assert await told(store) == ["+ann", "ann: 1", "ann: 2", "ann: 3", "-ann close"]

    async def test_the_events_of_several_clients_stand_as_they_were_put(self, store):
        await store.apply([join(client="ann"), join(client="bob"), post(1, client="bob")])
        await store.apply([post(1, client="ann"), leave(client="bob"), post(2, client="ann")])
        assert await told(store) == ["+ann", "+bob", "bob: 1", "ann: 1", "-bob close", "ann: 2"]

    async def test_events_are_handed_out_as_they_were_given(self, store):
        at, who = 1234.5678, describe("ann", "7", {"name": "Ånn"})
        body = message_body(who, at, b"\x00\xff")
        op = Post(hub="lobby", client_id="ann", connection="c1", number=1, body=body)
        await store.apply([join(connection="c1", user_id="7", meta={"name": "Ånn"}, at=at), op])
        joined, message = await drain(store)
        assert (joined.client_id, joined.user_id, joined.meta, joined.at) == (
            "ann",
            "7",
            {"name": "Ånn"},
            at,
        )
        assert (message.data, message.meta, message.at) == (b"\x00\xff", {"name": "Ånn"}, at)

    async def test_positions_rise(self, store):
        await store.apply([join(), post(1), post(2)])
        first = [event.id for event in await drain(store)]
        await store.apply([post(3), leave()])
        ids = first + [event.id for event in await drain(store)]
        assert ids == sorted(set(ids))
        assert ids[0] > 0

    async def test_positions_go_on_rising_when_a_hub_vanished_and_is_back(self, store):
        ids = []
        for number in range(3):
            await store.apply([join(connection=f"c{number}")])
            await store.apply([leave(connection=f"c{number}")])
            ids += [event.id for event in await drain(store)]
            assert await store.hub("lobby") is None
        assert ids == sorted(set(ids))

    async def test_a_wake_is_wanted_where_there_was_no_mail_before(self, store):
        applied = await store.apply([join(events="chat-events"), post(1), join("cellar", client="bob")])
        assert sorted(applied.wakes) == [("cellar", "hub-events"), ("lobby", "chat-events")]
        assert (await store.apply([post(2), join(client="cat")])).wakes == []
        await drain(store)
        assert (await store.apply([post(3)])).wakes == [("lobby", "chat-events")]

    async def test_no_wake_is_wanted_for_a_hub_whose_mail_is_being_handled(self, store):
        await store.apply([join()])
        await claim(store)
        assert (await store.apply([post(1)])).wakes == []

    async def test_an_op_that_changes_nothing_wants_no_wake(self, store):
        await store.apply([join(), post(1)])
        await drain(store)
        applied = await store.apply([join(), post(1), post(2, client="nobody"), leave(client="nobody")])
        assert applied.wakes == []
        assert await store.waiting() == 0

    # Join

    async def test_another_connection_replaces_the_one_that_had_the_id(self, store):
        await store.apply([join(connection="old", process="p1")])
        applied = await store.apply([join(connection="new", process="p2")])
        assert applied.outcomes == [DONE]
        assert applied.replaced == [("lobby", Address("p1", "old"))]
        assert await told(store) == ["+ann", "-ann replaced", "+ann"]
        member = await store.member("lobby", "ann")
        assert (member.process, member.connection) == ("p2", "new")

    async def test_the_left_of_a_replaced_member_tells_of_the_old_one(self, store):
        await store.apply([join(connection="old", user_id="7", meta={"which": "old"})])
        await store.apply([join(connection="new", user_id="8", meta={"which": "new"})])
        _, left, joined = await drain(store)
        assert (left.user_id, left.meta, left.code, left.error) == ("7", {"which": "old"}, None, None)
        assert left.undelivered == ()
        assert (joined.user_id, joined.meta) == ("8", {"which": "new"})

    async def test_replacing_is_of_one_hub_only(self, store):
        await store.apply([join("lobby", connection="1")])
        applied = await store.apply([join("cellar", connection="2")])
        assert applied.replaced == []
        assert await store.count("lobby") == 1

    async def test_one_after_another_replaces_in_one_call(self, store):
        applied = await store.apply([join(connection=f"c{number}") for number in range(4)])
        assert applied.outcomes == [DONE] * 4
        assert [address.connection for _, address in applied.replaced] == ["c0", "c1", "c2"]
        assert await told(store) == ["+ann", *["-ann replaced", "+ann"] * 3]

    async def test_a_repeated_join_changes_nothing(self, store):
        await store.apply([join(), post(1)])
        applied = await store.apply([join()])
        assert (applied.outcomes, applied.replaced, applied.wakes) == ([DONE], [], [])
        assert await told(store) == ["+ann", "ann: 1"]

    async def test_a_repeated_join_forgets_no_message_that_was_posted(self, store):
        await store.apply([join(), post(1)])
        assert (await store.apply([join(), post(1)])).outcomes == [DONE, DONE]
        assert await told(store) == ["+ann", "ann: 1"]

    async def test_a_repeated_join_that_replaced_another_changes_nothing(self, store):
        await store.apply([join(connection="old")])
        first = await store.apply([join(connection="new")])
        applied = await store.apply([join(connection="new")])
        assert applied.outcomes == [DONE]
        assert applied.replaced == first.replaced == [("lobby", Address("p1", "old"))]
        assert await told(store) == ["+ann", "-ann replaced", "+ann"]

    async def test_a_late_repeated_join_does_not_take_the_id_back(self, store):
        await store.apply([join(connection="old", process="p1")])
        await store.apply([join(connection="new", process="p2")])
        await store.apply([join(connection="newer", process="p3")])
        for connection, replaced in ("old", []), ("new", [("lobby", Address("p1", "old"))]):
            applied = await store.apply([join(connection=connection)])
            assert (applied.outcomes, applied.replaced, applied.wakes) == ([REPLACED], replaced, [])
        assert (await store.member("lobby", "ann")).connection == "newer"
        assert await told(store) == ["+ann", "-ann replaced", "+ann", "-ann replaced", "+ann"]

    async def test_concurrent_joins_of_one_id_leave_one_member(self, store):
        joins = [join(connection=f"c{number}", process=f"p{number}") for number in range(10)]
        applied = await asyncio.gather(*(store.apply([op]) for op in joins))
        assert await store.count("lobby") == 1
        assert sum(len(answer.replaced) for answer in applied) == 9
        assert await told(store) == ["+ann", *["-ann replaced", "+ann"] * 9]

    # Join again

    async def test_a_lost_connection_that_joins_again_is_a_member_under_its_new_id(self, store):
        await self.lose("p1", store, join(connection="1"))
        applied = await store.apply([join(connection="2", again="1", posted=3)])
        assert (applied.outcomes, applied.replaced) == ([DONE], [])
        assert (await store.member("lobby", "ann")).connection == "2"
        assert await told(store) == ["+ann", "-ann lost", "+ann"]

    async def test_a_connection_that_joins_again_where_it_still_is_a_member_was_lost_first(self, store):
        await store.apply([join(connection="1", user_id="7"), post(1, connection="1")])
        assert (await store.apply([join(connection="2", again="1", posted=1)])).outcomes == [DONE]
        assert (await store.member("lobby", "ann")).connection == "2"
        assert await store.count("lobby") == 1
        events = await drain(store)
        assert [say(event) for event in events] == ["+ann", "ann: 1", "-ann lost", "+ann"]
        assert events[2].user_id == "7"

    async def test_a_repeated_join_again_changes_nothing(self, store):
        await self.lose("p1", store, join(connection="1"))
        for _ in range(3):
            applied = await store.apply([join(connection="2", again="1")])
            assert (applied.outcomes, applied.replaced) == ([DONE], [])
        assert await told(store) == ["+ann", "-ann lost", "+ann"]

    async def test_a_repeated_join_again_that_replaced_the_old_one_changes_nothing(self, store):
        await store.apply([join(connection="1")])
        for _ in range(3):
            assert (await store.apply([join(connection="2", again="1")])).outcomes == [DONE]
        assert await told(store) == ["+ann", "-ann lost", "+ann"]

    async def test_a_connection_that_joins_again_goes_on_counting_its_messages(self, store):
        await self.lose("p1", store, join(connection="1"), post(1, connection="1"), post(2, connection="1"))
        await store.apply([join(connection="2", again="1", posted=2)])
        await drain(store)
        applied = await store.apply([post(2, connection="2"), post(3, connection="2")])
        assert applied.outcomes == [DONE, DONE]
        assert await told(store) == ["ann: 3"]

    @pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "still there"])
    async def test_what_a_lost_connection_does_not_know_to_be_taken_stands_once(self, store, reaped):
        await store.apply([join(connection="1"), post(1, connection="1"), post(2, connection="1")])
        if reaped:
            await self.units(11)
            await store.reap()
            assert (await store.apply([post(2, connection="1")])).outcomes == [UNKNOWN]
        ops = [join(connection="2", again="1", posted=1), post(2, connection="2"), post(3, connection="2")]
        assert (await store.apply(ops)).outcomes == [DONE] * 3
        assert await told(store) == ["+ann", "ann: 1", "ann: 2", "-ann lost", "+ann", "ann: 3"]

    @pytest.mark.parametrize("again", ["", "1"])
    async def test_a_call_that_is_repeated_after_its_connection_was_lost_doubles_no_message(
        self, store, again
    ):
        ops = [join(connection="2", again=again), post(1, connection="2")]
        await store.apply(ops)
        await self.units(11)
        await store.reap()
        assert (await store.apply(ops)).outcomes == [DONE, DONE]
        assert await told(store) == ["+ann", "ann: 1", "-ann lost", "+ann"]

    async def test_a_new_client_does_not_inherit_what_a_lost_one_posted(self, store):
        await self.lose("p1", store, join(connection="1"), post(1, connection="1"))
        await store.apply([join(connection="2"), post(1, connection="2")])
        assert await told(store) == ["+ann", "ann: 1", "-ann lost", "+ann", "ann: 1"]

    async def test_a_connection_that_joins_again_never_replaces_another_client(self, store):
        await self.lose("p1", store, join(connection="1"))
        await store.apply([join(connection="other", process="p2")])
        await drain(store)
        applied = await store.apply([join(connection="2", again="1")])
        assert (applied.outcomes, applied.replaced, applied.wakes) == ([REPLACED], [], [])
        assert (await store.member("lobby", "ann")).connection == "other"
        assert await told(store) == []

    async def test_a_connection_that_was_replaced_cannot_join_again(self, store):
        await store.apply([join(connection="1"), join(connection="other")])
        await drain(store)
        assert (await store.apply([join(connection="2", again="1")])).outcomes == [REPLACED]
        assert await told(store) == []

    async def test_a_late_word_of_the_old_id_does_not_reach_the_new_one(self, store):
        await self.lose("p1", store, join(connection="1"))
        await store.apply([join(connection="2", again="1")])
        await drain(store)
        applied = await store.apply([leave(connection="1"), post(1, connection="1")])
        assert applied.outcomes == [REPLACED, REPLACED]
        assert (await store.member("lobby", "ann")).connection == "2"
        assert await told(store) == []

    async def test_a_join_is_not_refused_for_a_full_mailbox(self, store):
        await self.fill(store)
        applied = await store.apply([join(client="bob"), join(connection="ann-2")])
        assert applied.outcomes == [DONE, DONE]
        assert (await told(store))[6:] == ["+bob", "-ann replaced", "+ann"]

    # Post

    async def test_a_message_whose_number_is_not_above_the_last_stands_once(self, store):
        await store.apply([join(), post(1), post(2)])
        assert (await store.apply([post(1), post(2), post(2, data="other")])).outcomes == [DONE] * 3
        assert await told(store) == ["+ann", "ann: 1", "ann: 2"]

    async def test_a_message_stands_once_also_when_the_first_was_handled(self, store):
        await store.apply([join(), post(1)])
        await drain(store)
        assert (await store.apply([post(1)])).outcomes == [DONE]
        assert await told(store) == []

    async def test_each_connection_counts_for_itself(self, store):
        await store.apply([join(connection="a"), post(1, connection="a"), post(2, connection="a")])
        await drain(store)
        await store.apply([join(connection="b"), post(1, connection="b", data="b's first")])
        await store.apply([join(client="bob"), post(1, client="bob")])
        assert await told(store) == ["-ann replaced", "+ann", "ann: b's first", "+bob", "bob: 1"]

    async def test_a_message_of_a_replaced_connection_is_not_taken(self, store):
        await store.apply([join(connection="old"), join(connection="new")])
        await drain(store)
        assert (await store.apply([post(1, connection="old")])).outcomes == [REPLACED]
        assert await told(store) == []

    async def test_a_message_of_one_that_left_is_not_taken(self, store):
        await store.apply([join(), join(client="bob")])
        await store.apply([leave()])
        await drain(store)
        assert (await store.apply([post(1)])).outcomes == [UNKNOWN]
        assert await told(store) == []

    async def test_a_full_mailbox_takes_no_message(self, store):
        await self.fill(store)
        applied = await store.apply([post(6), post(6)])
        assert (applied.outcomes, applied.wakes) == ([FULL, FULL], [])
        assert await told(store) == ["+ann", *(f"ann: {number}" for number in range(1, 6))]

    async def test_a_refused_message_is_taken_when_there_is_room(self, store):
        await self.fill(store)
        await store.apply([post(6)])
        held = await claim(store)
        held = await commit(store, held)
        assert (await store.apply([post(6)])).outcomes == [DONE]
        assert (await told_of_rest(store, held))[-1] == "ann: 6"

    async def test_a_message_taken_before_is_done_also_when_the_mailbox_is_full_now(self, store):
        await self.fill(store)
        assert (await store.apply([post(5)])).outcomes == [DONE]

    async def test_a_full_mailbox_is_one_hubs_matter(self, store):
        await self.fill(store)
        assert (await store.apply([join("cellar"), post(1, "cellar")])).outcomes == [DONE, DONE]

    # Leave

    async def test_one_that_leaves_is_a_member_no_more(self, store):
        await store.apply([join(), join(client="bob")])
        assert (await store.apply([leave()])).outcomes == [DONE]
        assert await store.member("lobby", "ann") is None
        assert [member.client_id for member in await store.members("lobby")] == ["bob"]

    async def test_a_repeated_leave_changes_nothing(self, store):
        await store.apply([join()])
        for _ in range(3):
            assert (await store.apply([leave()])).outcomes == [DONE]
        assert await told(store) == ["+ann", "-ann close"]

    async def test_a_repeated_leave_changes_nothing_when_the_hub_has_vanished(self, store):
        await store.apply([join()])
        await store.apply([leave()])
        await drain(store)
        applied = await store.apply([leave()])
        assert (applied.outcomes, applied.wakes) == ([DONE], [])
        assert await store.hubs() == []

    async def test_the_leave_of_a_replaced_connection_reports_nobody(self, store):
        await store.apply([join(connection="old"), join(connection="new")])
        await drain(store)
        applied = await store.apply([leave(connection="old")])
        assert (applied.outcomes, applied.wakes) == ([REPLACED], [])
        assert (await store.member("lobby", "ann")).connection == "new"
        assert await told(store) == []

    async def test_a_leave_is_not_refused_for_a_full_mailbox(self, store):
        await self.fill(store)
        assert (await store.apply([leave()])).outcomes == [DONE]
        assert (await told(store))[-1] == "-ann close"

    async def test_one_that_left_can_come_back_as_a_new_connection(self, store):
        await store.apply([join(connection="1"), post(1, connection="1")])
        await store.apply([leave(connection="1")])
        await store.apply([join(connection="2"), post(1, connection="2")])
        assert await told(store) == ["+ann", "ann: 1", "-ann close", "+ann", "ann: 1"]

    async def test_a_whole_call_can_be_repeated(self, store):
        await store.apply([join(client="cat"), join(client="dan", connection="old")])
        await drain(store)
        ops = [
            join(client="ann"),
            post(1, client="ann"),
            leave(client="cat"),
            join(client="dan", connection="new"),
            post(2, client="ann"),
        ]
        first = await store.apply(ops)
        again = await store.apply(ops)
        assert again.outcomes == first.outcomes == [DONE] * 5
        assert again.replaced == first.replaced == [("lobby", Address("p1", "old"))]
        assert await told(store) == ["+ann", "ann: 1", "-cat close", "-dan replaced", "+dan", "ann: 2"]

    async def test_what_many_write_while_one_handles_is_all_there_and_each_in_order(self, store):
        async def live(client):
            await store.apply([join(client=client)])
            number = 1
            while number <= 5:
                answer = await store.apply([post(number, client=client)])
                number += answer.outcomes == [DONE]
                await asyncio.sleep(0)
            await store.apply([leave(client=client)])

        async def handle():
            while len(handled) < 7 * len(clients):
                handled.extend(await told(store))
                await asyncio.sleep(0)

        handled = []
        clients = [f"c{number}" for number in range(12)]
        await asyncio.gather(handle(), *(live(client) for client in clients))
        for client in clients:
            mine = [event for event in handled if event.strip("+-").split()[0].strip(":") == client]
            numbers = [f"{client}: {number}" for number in range(1, 6)]
            assert mine == [f"+{client}", *numbers, f"-{client} close"]
        assert await store.hub("lobby") is None

    # Mailboxes: claim

    async def test_a_hub_with_mail_is_held_by_the_one_that_claims_it(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store)
        assert (held.hub, held.lease) == ("lobby", HELD)
        assert held.token
        assert read(held) == ["+ann", "ann: 1"]

    async def test_a_hub_without_mail_cannot_be_held(self, store):
        await store.create("named", None)
        await store.apply([join("drained")])
        await drain(store, "drained")
        for hub in ("nowhere", "named", "drained"):
            assert await claim(store, hub) == Claim(hub, FREE)

    async def test_a_hub_that_is_held_is_nobody_elses(self, store):
        await store.apply([join()])
        await claim(store, worker="w1")
        assert await claim(store, worker="w2") == Claim("lobby", FREE)

    async def test_the_same_worker_gets_its_own_lease_again(self, store):
        await store.apply([join()])
        assert await claim(store, worker="w1") == await claim(store, worker="w1")

    async def test_claiming_again_shows_what_came_meanwhile(self, store):
        await store.apply([join()])
        first = await claim(store)
        await store.apply([post(1)])
        again = await claim(store)
        assert again.token == first.token
        assert read(again) == ["+ann", "ann: 1"]

    async def test_several_hubs_are_claimed_in_one_call_each_for_itself(self, store):
        await store.apply([join("a"), join("b"), join("c")])
        await claim(store, "b", "w2")
        answers = await store.claim(["c", "b", "nowhere", "a"], "w1")
        assert [(each.hub, each.lease) for each in answers] == [
            ("c", HELD),
            ("b", FREE),
            ("nowhere", FREE),
            ("a", HELD),
        ]
        assert answers[0].token != answers[3].token
        assert await store.claim([], "w1") == []

    async def test_of_many_that_claim_at_once_one_has_it(self, store):
        await store.apply([join()])
        answers = await asyncio.gather(*(claim(store, worker=f"w{number}") for number in range(10)))
        assert sorted(answer.lease.value for answer in answers) == ["free"] * 9 + ["held"]

    async def test_a_batch_has_no_more_than_it_may(self, store):
        await store.apply([join(), *(post(number) for number in range(1, 5))])
        assert read(await claim(store)) == ["+ann", "ann: 1", "ann: 2"]

    async def test_a_claim_tells_where_the_clients_of_its_letters_are(self, store):
        await store.apply(
            [join(client=name, connection=name, process="p1") for name in ("ann", "bob", "ü ")]
        )
        held = await claim(store)
        here = {name: Address("p1", name) for name in ("ann", "bob", "ü ")}
        assert held.addresses == here
        await store.apply([leave(client="bob", connection="bob")])
        await store.apply([join(connection="new", process="p2")])
        held = await commit(store, held)
        assert [letter.client_id for letter in held.batch] == ["bob", "ann", "ann"]
        assert held.addresses == {"ann": Address("p2", "new")}
        assert (await commit(store, held)).addresses == {}

    # Mailboxes: claim with a ring of one's own

    async def test_with_a_ring_a_hub_is_held_also_while_it_has_no_mail(self, store):
        await store.create("lobby", None)
        held = await claim(store, worker="w1", ring="my-bell")
        assert (held.lease, held.batch) == (HELD, ())
        assert held.token
        assert (await claim(store, worker="w2")).lease is FREE
        assert await claim(store, worker="w1", ring="my-bell") == held

    async def test_with_a_ring_what_is_no_hub_is_not_held(self, store):
        assert await claim(store, ring="my-bell") == Claim("lobby", FREE)
        assert await store.hubs() == []

    async def test_with_a_ring_the_lease_stays_when_all_mail_is_done(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store, ring="my-bell")
        answer = await commit(store, held)
        assert (answer.lease, answer.token, answer.batch) == (HELD, held.token, ())
        assert await commit(store, held) == answer
        assert await store.waiting() == 0
        await store.apply([post(2)])
        assert read(await commit(store, held)) == ["ann: 2"]

    async def test_while_the_lease_lives_wakes_go_to_its_ring(self, store):
        await store.create("lobby", "chat-events")
        held = await claim(store, ring="my-bell")
        assert (await store.apply([join(), post(1)])).wakes == [("lobby", "my-bell")]
        assert read(await claim(store, ring="my-bell")) == ["+ann", "ann: 1"]
        assert (await store.hub("lobby")).events == "chat-events"
        await self.units(6)
        await store.renew([("lobby", held.token)])
        assert await store.unclaimed() == []

    async def test_lost_members_ring_there_too(self, store):
        await store.apply([join(events="chat-events")])
        await drain(store)
        await self.units(9)
        await claim(store, ring="my-bell")
        await self.units(2)
        assert await store.reap() == [("lobby", "my-bell")]

    async def test_when_the_lease_is_given_back_wakes_go_to_the_hubs_channel_again(self, store):
        await store.create("lobby", "chat-events")
        held = await claim(store, worker="w1", ring="my-bell")
        assert await commit(store, held, 0, release=True) == Claim("lobby", FREE)
        assert (await store.apply([join()])).wakes == [("lobby", "chat-events")]
        assert (await claim(store, worker="w2")).lease is HELD

    async def test_when_the_lease_is_past_its_time_wakes_go_to_the_hubs_channel_again(self, store):
        await store.create("lobby", "chat-events")
        await claim(store, ring="my-bell")
        await self.units(11)
        assert (await store.apply([join()])).wakes == [("lobby", "chat-events")]
        assert (await claim(store, worker="w2")).lease is HELD

    async def test_mail_that_the_ring_was_told_of_is_rung_for_at_the_hubs_channel_when_it_died(self, store):
        await store.create("lobby", "chat-events")
        await claim(store, ring="my-bell")
        await store.apply([join()])
        await self.units(11)
        assert await store.unclaimed() == [("lobby", "chat-events")]

    async def test_the_last_claim_of_a_worker_says_where_its_wakes_go(self, store):
        await store.create("lobby", "chat-events")
        first = await claim(store, worker="w1", ring="my-bell")
        again = await claim(store, worker="w1", ring="my-other-bell")
        assert again == first
        assert (await store.apply([join()])).wakes == [("lobby", "my-other-bell")]
        held = await claim(store, worker="w1")
        assert (held.lease, held.token) == (HELD, first.token)
        assert (await commit(store, held)).lease is FREE
        assert (await store.apply([post(1)])).wakes == [("lobby", "chat-events")]

    async def test_a_claim_that_held_nothing_says_nothing_of_wakes(self, store):
        await store.create("lobby", "chat-events")
        held = await claim(store, worker="w1", ring="my-bell")
        assert (await claim(store, worker="w1")).lease is FREE
        assert (await claim(store, worker="w2", ring="my-other-bell")).lease is FREE
        assert (await store.apply([join()])).wakes == [("lobby", "my-bell")]
        assert await store.renew([("lobby", held.token)]) == [True]

    async def test_a_hub_that_is_held_does_not_vanish_and_then_does(self, store):
        await store.apply([join()])
        held = await commit(store, await claim(store, ring="my-bell"))
        await store.apply([leave()])
        held = await commit(store, await claim(store, ring="my-bell"))
        assert await store.hub("lobby")
        assert await commit(store, held, 0, release=True) == Claim("lobby", FREE)
        assert await store.hub("lobby") is None

    async def test_a_lease_with_a_ring_past_its_time_that_nobody_took_is_still_the_workers(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store, ring="my-bell")
        await self.units(6)
        await store.beat("p1")
        await self.units(6)
        await store.reap()
        assert await store.renew([("lobby", held.token)]) == [True]
        assert (await commit(store, held)).lease is HELD

    async def test_a_worker_after_one_with_a_ring_keeps_its_lease_past_its_time(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store, ring="my-bell", worker="w1")
        await commit(store, held, 0, release=True)
        held = await claim(store, worker="w2")
        await self.units(6)
        await store.beat("p1")
        await self.units(6)
        await store.reap()
        assert await store.renew([("lobby", held.token)]) == [True]

    async def test_a_hub_that_only_a_dead_holder_keeps_vanishes(self, store):
        """Or else nobody ever removes it: it has no mail that would be rung for."""
        await store.apply([join()])
        await commit(store, await claim(store, ring="my-bell"))
        await store.apply([leave()])
        await commit(store, await claim(store, ring="my-bell"))
        await self.units(11)
        await store.reap()
        await store.unclaimed()
        assert await store.hub("lobby") is None

    # Mailboxes: commit

    async def test_a_commit_drops_what_is_done_and_brings_the_next_batch(self, store):
        await store.apply([join(), *(post(number) for number in range(1, 5))])
        held = await claim(store)
        following = await commit(store, held)
        assert (following.lease, following.token) == (HELD, held.token)
        assert read(following) == ["ann: 3", "ann: 4"]

    async def test_a_commit_in_the_middle_of_a_batch_brings_the_rest(self, store):
        await store.apply([join(), *(post(number) for number in range(1, 5))])
        held = await claim(store)
        following = await commit(store, held, held.batch[0].position)
        assert read(following) == ["ann: 1", "ann: 2", "ann: 3"]
        assert following.batch[:2] == held.batch[1:]

    async def test_a_commit_brings_what_came_meanwhile(self, store):
        await store.apply([join()])
        held = await claim(store)
        await store.apply([post(1)])
        assert read(await commit(store, held)) == ["ann: 1"]

    async def test_the_last_commit_gives_the_lease_back_in_the_same_step(self, store):
        await store.apply([join()])
        held = await claim(store)
        assert await commit(store, held) == Claim("lobby", FREE)
        assert await store.waiting() == 0
        await store.apply([post(1)])
        other = await claim(store, worker="w2")
        assert other.lease is HELD
        assert other.token != held.token

    async def test_a_commit_that_releases_leaves_the_rest_to_others(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store)
        assert await commit(store, held, held.batch[0].position, release=True) == Claim("lobby", FREE)
        assert await store.waiting() == 1
        other = await claim(store, worker="w2")
        assert (other.lease, read(other)) == (HELD, ["ann: 1"])

    async def test_a_commit_of_nothing_drops_nothing(self, store):
        await store.apply([join()])
        held = await claim(store)
        assert await commit(store, held, 0) == held
        assert await commit(store, held, 0, release=True) == Claim("lobby", FREE)
        assert await told(store) == ["+ann"]

    async def test_a_repeated_commit_drops_nothing_more(self, store):
        await store.apply([join(), *(post(number) for number in range(1, 6))])
        held = await claim(store)
        first = await commit(store, held)
        assert await commit(store, held) == first
        assert read(first) == ["ann: 3", "ann: 4", "ann: 5"]

    async def test_a_repeated_last_commit_changes_nothing(self, store):
        await store.apply([join()])
        held = await claim(store)
        await commit(store, held)
        await store.apply([post(1)])
        assert (await commit(store, held)).lease is not HELD
        assert await told(store) == ["ann: 1"]

    async def test_a_repeated_release_does_not_take_the_lease_from_the_next_one(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store)
        await commit(store, held, held.batch[0].position, release=True)
        other = await claim(store, worker="w2")
        assert (await commit(store, held, held.batch[0].position, release=True)).lease is LOST
        assert await store.renew([("lobby", other.token)]) == [True]
        assert read(await claim(store, worker="w2")) == ["ann: 1"]

    async def test_a_commit_with_a_token_that_is_not_the_hubs_is_lost(self, store):
        await store.apply([join("a"), join("b")])
        held, other = await store.claim(["a", "b"], "w1")
        position = held.batch[-1].position + 1_000_000_000
        answers = await store.commit(
            [
                Commit("a", "guessed", position),
                Commit("a", other.token, position, release=True),
                Commit("nowhere", held.token, position),
                Commit("a", "", position),
            ]
        )
        assert [answer.lease for answer in answers] == [LOST] * 4
        assert await store.claim(["a", "b"], "w1") == [held, other]

    async def test_a_commit_to_a_hub_that_nobody_holds_is_lost(self, store):
        await store.apply([join()])
        assert await store.commit([Commit("lobby", "", 2**53)]) == [Claim("lobby", LOST)]
        assert await told(store) == ["+ann"]

    async def test_several_commits_go_in_one_call_each_for_itself(self, store):
        await store.apply([join("a"), post(1, "a"), join("b"), join("c")])
        a, b, c = await store.claim(["a", "b", "c"], "w1")
        answers = await store.commit(
            [
                Commit("c", c.token, c.batch[-1].position),
                Commit("b", "guessed", b.batch[-1].position),
                Commit("a", a.token, a.batch[0].position),
            ]
        )
        assert [(each.hub, each.lease) for each in answers] == [("c", FREE), ("b", LOST), ("a", HELD)]
        assert await store.commit([]) == []

    # Leases of hubs

    async def test_a_lease_past_its_time_is_anybodys(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store, worker="w1")
        await self.units(11)
        other = await claim(store, worker="w2")
        assert other.lease is HELD
        assert other.token != held.token
        assert other.batch == held.batch

    async def test_a_claim_tells_under_how_many_leases_its_first_letter_was_tried(self, store):
        await store.apply([join(), post(1), post(2)])
        for number in range(1, 4):
            for _ in range(2):
                held = await claim(store, worker=f"w{number}")
                assert (held.tries, len(held.batch)) == (number, 3)
            assert (await commit(store, held, 0)).tries == number
            await self.units(11)
        held = await claim(store, worker="w4")
        assert held.tries == 4
        # What is behind it is another letter.
        held = await commit(store, held, held.batch[0].position)
        assert (held.tries, len(held.batch)) == (1, 2)
        await self.units(11)
        held = await claim(store, worker="w5")
        assert held.tries == 2
        await commit(store, held, 0, release=True)
        assert (await claim(store, worker="w6")).tries == 1

    async def test_a_lease_without_mail_is_no_try(self, store):
        await store.create("lobby", "events")
        for number in range(3):
            held = await claim(store, worker=f"w{number}", ring="bell")
            assert (held.lease, held.batch, held.tries) == (HELD, (), 0)
            await self.units(11)
        await store.apply([join()])
        assert (await claim(store, worker="w4")).tries == 1

    async def test_one_that_lost_its_lease_changes_nothing(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store, worker="w1")
        await self.units(11)
        other = await claim(store, worker="w2")
        dead = [letter_of(1, self.now())]
        assert await commit(store, held, dead=dead, release=True) == Claim("lobby", LOST)
        assert await store.renew([("lobby", held.token)]) == [False]
        assert await store.dead_letters("lobby") == []
        assert await claim(store, worker="w2") == other

    async def test_a_lease_past_its_time_that_nobody_took_is_still_the_workers(self, store):
        await store.apply([join(), *(post(number) for number in range(1, 5))])
        held = await claim(store)
        await self.units(11)
        assert (await commit(store, held)).lease is HELD
        await self.units(11)
        assert await store.renew([("lobby", held.token)]) == [True]
        await self.units(11)
        assert (await claim(store)).token == held.token

    @pytest.mark.parametrize("how", ["claim", "commit", "renew"])
    async def test_a_lease_is_extended_by(self, store, how):
        await store.apply([join()])
        held = await claim(store, worker="w1")
        await self.units(6)
        match how:
            case "claim":
                await claim(store, worker="w1")
            case "commit":
                await commit(store, held, 0)
            case "renew":
                await store.renew([("lobby", held.token)])
        await self.units(6)
        assert (await claim(store, worker="w2")).lease is FREE
        await self.units(5)
        assert (await claim(store, worker="w2")).lease is HELD

    async def test_leases_are_renewed_each_for_itself(self, store):
        await store.apply([join("a"), join("b")])
        a, b = await store.claim(["a", "b"], "w1")
        leases = [("b", b.token), ("a", b.token), ("nowhere", a.token), ("a", a.token)]
        assert await store.renew(leases) == [True, False, False, True]
        assert await store.renew([]) == []

    async def test_renewing_with_a_foreign_token_does_not_extend_the_lease(self, store):
        await store.apply([join()])
        await claim(store, worker="w1")
        await self.units(6)
        await store.renew([("lobby", "guessed")])
        await self.units(5)
        assert (await claim(store, worker="w2")).lease is HELD

    # Mail that nobody took

    async def test_a_hub_whose_wake_is_fresh_is_not_rung_for_again(self, store):
        await store.apply([join()])
        assert await store.unclaimed() == []

    async def test_a_hub_whose_wake_was_lost_is_rung_for_again_once_each_time(self, store):
        await store.apply([join(events="chat-events"), join("cellar")])
        await self.units(6)
        assert sorted(await store.unclaimed()) == [("cellar", "hub-events"), ("lobby", "chat-events")]
        assert await store.unclaimed() == []
        await self.units(6)
        assert len(await store.unclaimed()) == 2

    async def test_of_many_that_look_at_once_one_rings(self, store):
        await store.apply([join()])
        for _ in range(10):
            await self.units(6)
            began = self.now()
            found = await asyncio.gather(*(store.unclaimed() for _ in range(10)))
            if self.now() - began < store.limits.ring_again:
                break  # not so slow that it was time to ring again
        assert [hubs for hubs in found if hubs] == [[("lobby", "hub-events")]]

    async def test_more_mail_does_not_put_the_ringing_off(self, store):
        await store.apply([join()])
        await self.units(3)
        await store.apply([post(1)])
        await self.units(3)
        assert await store.unclaimed() == [("lobby", "hub-events")]

    async def test_a_hub_that_is_held_is_not_rung_for(self, store):
        await store.apply([join()])
        held = await claim(store)
        await self.units(6)
        await store.renew([("lobby", held.token)])
        assert await store.unclaimed() == []

    async def test_a_hub_whose_worker_died_is_rung_for(self, store):
        await store.apply([join()])
        await claim(store)
        await self.units(11)
        assert await store.unclaimed() == [("lobby", "hub-events")]

    async def test_a_hub_that_was_given_back_with_mail_is_rung_for_at_once(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store)
        await commit(store, held, held.batch[0].position, release=True)
        assert await store.unclaimed() == [("lobby", "hub-events")]
        assert await store.unclaimed() == []

    async def test_a_hub_without_mail_is_not_rung_for(self, store):
        await store.create("named", None)
        await store.apply([join()])
        await drain(store)
        await self.units(6)
        assert await store.unclaimed() == []

    async def test_a_hub_rings_on_the_channel_it_has_now(self, store):
        await store.apply([join(events="chat-events")])
        await store.create("lobby", "game-events")
        await self.units(6)
        assert await store.unclaimed() == [("lobby", "game-events")]

    async def test_waiting_counts_hubs_with_mail_that_is_not_committed(self, store):
        await store.apply([join("a"), post(1, "a"), join("b")])
        assert await store.waiting() == 2
        held = await claim(store, "a")
        assert await store.waiting() == 2
        await commit(store, held)
        assert await store.waiting() == 1
        await drain(store, "b")
        assert await store.waiting() == 0

    # Dead letters

    async def bury(self, store, *letters, hub="lobby"):
        """Commit one event with dead letters."""
        connection = f"of {letters[0].position}"
        await store.apply([join(hub, client="buried", connection=connection)])
        held = await claim(store, hub)
        return await commit(store, held, dead=letters)

    async def test_dead_letters_are_kept_oldest_first(self, store):
        letters = [letter_of(number, self.now()) for number in (1, 2)]
        await self.bury(store, *letters)
        later = letter_of(3, self.now())
        await self.bury(store, later)
        assert await store.dead_letters("lobby") == [*letters, later]
        assert await store.dead_letters("cellar") == []

    async def test_dead_letters_of_a_repeated_commit_are_kept_once(self, store):
        await store.apply([join(), *(post(number) for number in range(1, 5))])
        held = await claim(store)
        letters = [letter_of(1, self.now())]
        for _ in range(3):
            await commit(store, held, dead=letters)
        assert await store.dead_letters("lobby") == letters

    async def test_dead_letters_of_a_repeated_last_commit_are_kept_once(self, store):
        await store.apply([join()])
        held = await claim(store)
        letters = [letter_of(1, self.now())]
        for _ in range(3):
            await commit(store, held, dead=letters)
        assert await store.dead_letters("lobby") == letters

    async def test_dead_letters_of_a_released_lease_are_kept(self, store):
        await store.apply([join(), post(1)])
        held = await claim(store)
        letter = letter_of(held.batch[0].position, self.now())
        await commit(store, held, held.batch[0].position, dead=[letter], release=True)
        assert await store.dead_letters("lobby") == [letter]

    async def test_the_newest_dead_letters_are_kept(self, store):
        letters = [letter_of(number, self.now()) for number in range(6)]
        await self.bury(store, *letters[:3])
        await self.bury(store, *letters[3:])
        assert await store.dead_letters("lobby") == letters[2:]

    async def test_dead_letters_outlive_their_hub(self, store):
        letter = letter_of(1, self.now())
        await self.bury(store, letter)
        await store.apply([leave(client="buried", connection="of 1")])
        await drain(store)
        assert await store.hub("lobby") is None
        assert await store.dead_letters("lobby") == [letter]

    async def test_dead_letters_are_dropped_on_demand(self, store):
        await self.bury(store, letter_of(1, self.now()), letter_of(2, self.now()))
        await self.bury(store, letter_of(3, self.now(), hub="cellar"), hub="cellar")
        assert await store.drop_dead_letters("lobby") == 2
        assert await store.dead_letters("lobby") == []
        assert await store.drop_dead_letters("lobby") == 0
        assert len(await store.dead_letters("cellar")) == 1

    async def test_dead_letters_are_not_kept_for_ever(self, store):
        await self.bury(store, letter_of(1, self.now()))
        await self.units(15)
        young = letter_of(2, self.now())
        await self.bury(store, young)
        await self.units(6)
        assert young in await store.dead_letters("lobby")
        await self.units(21)
        assert await store.dead_letters("lobby") == []

    async def test_how_much_waits_in_hubs(self, store):
        assert await store.waiting_in([]) == {}
        await store.apply([join(hub="one"), join(hub="other"), post(1, hub="other")])
        assert await store.waiting_in(["one", "other", "none"]) == {"one": 1, "other": 2, "none": 0}
        assert await store.with_mail() == ["one", "other"]
        assert await store.with_mail(most=1) == ["one"]
        assert await store.with_mail(after="one") == ["other"]
        (claim,) = await store.claim(["one"], "w1")
        assert await store.waiting_in(["one"]) == {"one": 1}, "what is in hand is not handled yet"
        await store.commit([Commit("one", claim.token, claim.batch[-1].position)])
        assert await store.waiting_in(["one", "other"]) == {"one": 0, "other": 2}
        assert "other" in await store.with_mail(), "the one may be still named"

    async def test_its_epoch_stays(self, store):
        epoch = await store.epoch()
        await store.apply([join()])
        assert await store.epoch() == epoch

    # Processes

    async def lose(self, process, store, *ops):
        """Ops of a process that then dies, and is found dead."""
        await store.apply(ops)
        await self.units(11)
        await store.reap()
        await store.beat(process)

    async def fill(self, store):
        """Ann joins and posts until the mailbox is at its limit."""
        full = [join(), *(post(number) for number in range(1, store.limits.mailbox))]
        assert (await store.apply(full)).outcomes == [DONE] * store.limits.mailbox

    async def test_a_process_that_beats_has_one_life(self, store):
        life = await store.beat("p1")
        await store.beat("p2")
        await store.apply([join()])
        assert await store.beat("p1") == life

    async def test_a_process_is_dead_when_it_was_not_heard_of_for_its_lease(self, store):
        await store.beat("p1")
        await store.apply([join(), join("cellar", client="bob")])
        await self.units(11)
        await store.reap()
        assert await store.count("lobby") == await store.count("cellar") == 0
        assert await store.find("ann") is None
        assert await told(store) == ["+ann", "-ann lost"]
        assert await told(store, "cellar") == ["+bob", "-bob lost"]
        assert await store.hubs() == []

    async def test_a_lost_member_is_told_of_as_it_joined(self, store):
        await store.apply([join(user_id="7", meta={"name": "Ånn"})])
        await self.units(11)
        await store.reap()
        _, left = await drain(store)
        assert (left.client_id, left.user_id, left.meta) == ("ann", "7", {"name": "Ånn"})
        assert (left.reason, left.code, left.error, left.undelivered) == ("lost", None, None, ())
        assert abs(left.at - self.now()) < 60

    async def test_a_process_that_beats_lives(self, store):
        life = await store.beat("p1")
        await store.apply([join()])
        for _ in range(3):
            await self.units(6)
            assert await store.beat("p1") == life
            assert await store.reap() == []
        assert await store.count("lobby") == 1

    async def test_a_process_lives_by_its_joins_until_its_first_beat(self, store):
        await store.apply([join()])
        await self.units(6)
        await store.reap()
        assert await store.count("lobby") == 1
        await self.units(5)
        await store.reap()
        assert await store.count("lobby") == 0

    async def test_a_join_does_not_put_off_the_death_of_its_process(self, store):
        await store.beat("p1")
        await self.units(6)
        await store.apply([join()])
        await self.units(5)
        await store.reap()
        assert await told(store) == ["+ann", "-ann lost"]

    async def test_a_dead_process_takes_nobody_elses_members_with_it(self, store):
        await store.apply([join(process="p1"), join(client="bob", process="p2")])
        await self.units(6)
        await store.beat("p2")
        await self.units(5)
        await store.reap()
        assert [member.client_id for member in await store.members("lobby")] == ["bob"]
        assert await told(store) == ["+ann", "+bob", "-ann lost"]

    async def test_a_process_that_was_declared_dead_has_another_life(self, store):
        first = await store.beat("p1")
        await store.apply([join()])
        await self.units(11)
        await store.reap()
        second = await store.beat("p1")
        assert second != first
        # Also told where the first reply was lost.
        assert await store.beat("p1") == second
        await self.units(11)
        await store.reap()
        assert await store.beat("p1") not in (first, second)

    async def test_a_late_beat_says_whether_the_members_are_still_there(self, store):
        life = await store.beat("p1")
        await store.apply([join()])
        await self.units(11)
        same = await store.beat("p1") == life
        assert await store.count("lobby") == same
        await store.reap()
        assert await store.count("lobby") == same

    async def test_each_lost_member_is_told_of_once_however_many_reap(self, store):
        await store.apply([join(client=f"c{number}") for number in range(20)])
        await self.units(11)
        await asyncio.gather(*(store.reap() for _ in range(10)))
        await store.reap()
        events = await told(store)
        assert sorted(events[20:]) == sorted(f"-c{number} lost" for number in range(20))

    async def test_a_reap_wants_a_wake_where_there_was_no_mail_before(self, store):
        await store.apply([join(events="chat-events"), join("cellar", client="bob")])
        await drain(store)
        await self.units(11)
        assert await store.reap() == [("lobby", "chat-events")]
        assert await store.reap() == []

    async def test_a_reaped_hub_is_rung_for_again_when_its_wake_is_lost(self, store):
        await store.apply([join()])
        await drain(store)
        await self.units(11)
        await store.reap()
        assert await store.unclaimed() == []
        await self.units(6)
        assert await store.unclaimed() == [("lobby", "hub-events")]

    async def test_a_left_follows_the_messages_of_a_lost_member(self, store):
        await self.lose("p1", store, join(), post(1), post(2))
        assert await told(store) == ["+ann", "ann: 1", "ann: 2", "-ann lost"]

    async def test_a_lost_member_is_told_of_also_when_the_mailbox_is_full(self, store):
        await self.fill(store)
        await self.units(11)
        await store.reap()
        assert (await told(store))[-1] == "-ann lost"

    async def test_a_member_that_came_back_through_another_process_is_not_lost(self, store):
        await store.apply([join(connection="old", process="p1")])
        await self.units(6)
        await store.apply([join(connection="new", process="p2")])
        await self.units(5)
        await store.reap()
        assert (await store.member("lobby", "ann")).connection == "new"
        assert await told(store) == ["+ann", "-ann replaced", "+ann"]

    async def test_a_late_word_of_a_lost_connection_changes_nothing(self, store):
        await self.lose("p1", store, join())
        await drain(store)
        assert (await store.apply([post(1), leave()])).outcomes == [UNKNOWN, DONE]
        assert await told(store) == []

    async def test_a_process_with_members_in_many_hubs_loses_each_once(self, store):
        hubs = [f"hub {number}" for number in range(20)]
        await store.apply([join(hub, connection=hub) for hub in hubs])
        await self.units(11)
        assert sorted(await store.reap()) == []
        for hub in hubs:
            assert await told(store, hub) == ["+ann", "-ann lost"]
        assert await store.hubs() == []

    async def test_a_dead_process_can_live_again(self, store):
        await self.lose("p1", store, join(connection="1"))
        await store.apply([join(connection="2", again="1")])
        await self.units(6)
        await store.beat("p1")
        await self.units(6)
        await store.reap()
        assert await store.count("lobby") == 1

    @pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:20])
    async def test_a_lost_member_of_any_name_is_told_of(self, store, name):
        await store.apply([join(name, client=name)])
        await self.units(11)
        await store.reap()
        assert await store.count(name) == 0
        assert await told(store, name) == [f"+{name}", f"-{name} lost"]
        assert await store.hubs() == []

    # A log that was put back

    async def test_a_log_that_has_not_come_so_far_begins_anew(self, store):
        def say(name):
            return Publication(hub="lobby", item=name, id=name)

        one, two = await store.publish([say("a"), say("b")])
        assert await store.history("lobby", 2) == History(two.epoch, 2)
        begun = await store.history("lobby", 3)
        assert (begun.seq, begun.items) == (0, ())
        assert begun.epoch != one.epoch
        assert await store.publish([say("c")]) == [Number(begun.epoch, 1)]
        assert await store.history("lobby", 0) == History(begun.epoch, 1, ((1, "c"),))

    # Close

    async def test_a_closed_store_can_be_used_again(self, store):
        await store.apply([join()])
        await store.close()
        await store.close()
        await store.apply([post(1)])
        assert await told(store) == ["+ann", "ann: 1"]
        await store.close()


async def told_of_rest(store, held):
    """Handle what is left of a claimed hub, in short."""
    events = []
    while held.lease is HELD:
        held = await claim(store, held.hub)
        events += read(held)
        held = await commit(store, held)
    return events
