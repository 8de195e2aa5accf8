"""The contract of members that come back, as tests; see `tests.stores.contract`."""

from dataclasses import replace

from django_hub.events import Lost, Updated, describe, lost_body, resumed_body, updated_body
from django_hub.stores.ops import Address, Lose, Outcome, Update
from tests.stores.contract import drain, join, leave, post, told
from tests.stores.contract_logs import say_to

DONE, UNKNOWN, REPLACED, RESUMED = Outcome.DONE, Outcome.UNKNOWN, Outcome.REPLACED, Outcome.RESUMED
GRACE = 4


def lose(connection="s.1", process="p1", hub="lobby"):
    body = lost_body(describe("ann", None, {}), 2.0, "read", 1006)
    return Lose(hub=hub, client_id="ann", connection=connection, process=process, body=body)


def update(meta, connection="s.1"):
    who = describe("ann", None, meta)
    return Update(hub="lobby", client_id="ann", connection=connection, who=who, body=updated_body(who, 2.0))


class SessionContract:
    def come(self, connection="s.1", process="p1", grace=GRACE, **more):
        op = join(connection=connection, process=process, **more)
        return replace(op, grace=grace * self.unit, resumed=resumed_body(op.who, op.at))

    async def test_a_client_of_the_same_session_goes_on_as_the_same_member(self, store):
        await store.apply([self.come(), post(1, connection="s.1")])
        await store.publish([say_to(client="ann")])
        back = self.come("s.2", "p2", meta={"n": 2}, at=2.5)
        for _ in range(2):
            applied = await store.apply([back])
            assert applied.outcomes == [RESUMED]
            assert applied.replaced == [("lobby", Address("p1", "s.1"))]
        member = await store.member("lobby", "ann")
        assert (member.connection, member.process, member.at) == ("s.2", "p2", 2.5)
        assert (member.meta, member.state) == ({"n": 2}, "online")
        assert await store.find("ann") == member
        assert await store.count("lobby") == 1
        assert (await store.sent("lobby", "ann", 0)).items == ((1, "a"),)
        again = [post(1, connection="s.2"), post(2, connection="s.2"), post(3, connection="s.1")]
        assert (await store.apply(again)).outcomes == [DONE, DONE, REPLACED]
        assert (await store.apply([self.come()])).outcomes == [REPLACED]
        assert await told(store) == ["+ann", "ann: 1", "=ann", "ann: 2"]

    async def test_a_repeated_first_join_is_done(self, store):
        for _ in range(2):
            assert (await store.apply([self.come()])).outcomes == [DONE]
        await store.apply([self.come("t.1")])
        assert (await store.apply([self.come("t.1")])).outcomes == [DONE]
        assert await told(store) == ["+ann", "-ann replaced", "+ann"]

    async def test_another_session_replaces(self, store):
        await store.apply([self.come(), lose()])
        assert (await store.apply([self.come("t.1")])).outcomes == [DONE]
        assert (await store.member("lobby", "ann")).state == "online"
        assert (await store.apply([join(connection="raw"), self.come("t.2")])).outcomes == [DONE, DONE]
        assert await told(store) == [
            *("+ann", "~ann read", "-ann replaced", "+ann"),
            *("-ann replaced", "+ann", "-ann replaced", "+ann"),
        ]

    async def test_a_lost_member_stays_and_comes_back(self, store):
        await store.apply([self.come(), post(1, connection="s.1")])
        for _ in range(2):
            assert (await store.apply([lose()])).outcomes == [DONE]
        assert (await store.member("lobby", "ann")).state == "lost"
        assert [member.state for member in await store.members("lobby")] == ["lost"]
        assert (await store.publish([say_to(client="ann")]))[0].seq == 1
        assert (await store.apply([self.come("s.2")])).outcomes == [RESUMED]
        assert (await store.apply([lose()])).outcomes == [REPLACED]
        assert (await store.member("lobby", "ann")).state == "online"
        events = await drain(store)
        assert [type(event).__name__ for event in events] == ["Joined", "Message", "Lost", "Resumed"]
        assert isinstance(events[2], Lost)
        assert (events[2].reason, events[2].code) == ("read", 1006)

    async def test_who_is_no_member_is_not_lost(self, store):
        assert (await store.apply([lose()])).outcomes == [DONE]
        assert await told(store) == []

    async def test_a_lost_member_of_a_living_process_leaves_as_that_says(self, store):
        await store.apply([self.come(), lose()])
        await self.units(GRACE + 1)
        await store.beat("p1")
        await store.reap()
        assert (await store.member("lobby", "ann")).state == "lost"
        assert (await store.apply([leave(connection="s.1")])).outcomes == [DONE]
        assert await store.count("lobby") == 0
        assert await told(store) == ["+ann", "~ann read", "-ann close"]

    async def test_it_is_not_refused_for_a_full_mailbox(self, store):
        await store.apply([self.come(), *(post(number, connection="s.1") for number in range(1, 7))])
        ops = [update({"n": 1}), lose(), self.come("s.2")]
        assert (await store.apply(ops)).outcomes == [DONE, DONE, RESUMED]
        assert (await told(store))[-3:] == ["!ann", "~ann read", "=ann"]

    async def test_an_update_changes_meta_and_tells_once(self, store):
        await store.apply([self.come()])
        for _ in range(2):
            assert (await store.apply([update({"n": 1})])).outcomes == [DONE]
        assert (await store.member("lobby", "ann")).meta == {"n": 1}
        assert (await store.apply([update({}, "s.2")])).outcomes == [REPLACED]
        await store.apply([leave(connection="s.1")])
        assert (await store.apply([update({})])).outcomes == [UNKNOWN]
        _, event, _ = await drain(store)
        assert isinstance(event, Updated)
        assert event.meta == {"n": 1}

    async def test_a_session_that_left_posts_nothing_twice_for_a_while(self, store):
        await store.apply([self.come(), post(3, connection="s.1"), leave(connection="s.1")])
        await store.apply([self.come("s.2"), post(3, connection="s.2"), post(4, connection="s.2")])
        assert await told(store) == ["+ann", "ann: 3", "-ann close", "+ann", "ann: 4"]
        await store.apply([leave(connection="s.2"), self.come("t.1"), post(1, connection="t.1")])
        assert await told(store) == ["-ann close", "+ann", "ann: 1"]

    async def test_messages_of_the_applications_own_are_counted_for_themselves(self, store):
        def own(number, connection):
            return post(number, connection=connection, data=f"own {number}", own=True)

        await store.apply([self.come(), post(7, connection="s.1"), own(1, "s.1"), own(2, "s.1")])
        # A repeat, and one with a number that the session is past.
        await store.apply([own(2, "s.1"), post(8, connection="s.1"), own(3, "s.1")])
        heard = ["ann: 7", "ann: own 1", "ann: own 2", "ann: 8", "ann: own 3"]
        assert await told(store) == ["+ann", *heard]
        # On a new connection they begin anew; what the client sends again is told all the same.
        back = [self.come("s.2"), own(1, "s.2"), own(1, "s.2"), post(8, connection="s.2"), own(9, "s.1")]
        assert (await store.apply(back)).outcomes == [RESUMED, DONE, DONE, DONE, REPLACED]
        assert await told(store) == ["=ann", "ann: own 1"]
        # Where the connection joins again under a new id, they do not.
        again = [self.come("s.3", again="s.2"), own(1, "s.3"), own(2, "s.3")]
        assert (await store.apply(again)).outcomes == [RESUMED, DONE, DONE]
        assert await told(store) == ["=ann", "ann: own 2"]
        # Nor do they outlive the member, or another's.
        await store.apply([self.come("t.1"), own(1, "t.1"), leave(connection="t.1")])
        await store.apply([self.come("t.1"), own(1, "t.1")])
        assert await told(store) == [
            *("-ann replaced", "+ann", "ann: own 1"),
            *("-ann close", "+ann", "ann: own 1"),
        ]

    async def test_a_full_mailbox_refuses_the_applications_own_too(self, store):
        await store.apply([self.come(), *(post(number, connection="s.1") for number in range(1, 7))])
        await store.apply([update({"n": 1}), lose(), self.come("s.2")])
        full = post(1, connection="s.2", own=True)
        assert (await store.apply([full])).outcomes == [Outcome.FULL]
        await told(store)
        assert (await store.apply([full, full])).outcomes == [DONE, DONE]
        assert await told(store) == ["ann: 1"]

    async def test_a_session_that_was_replaced_posts_nothing_twice_for_a_while(self, store):
        await store.apply([self.come(), post(3, connection="s.1"), self.come("t.1")])
        assert await told(store) == ["+ann", "ann: 3", "-ann replaced", "+ann"]
        await store.apply([self.come("s.2"), post(3, connection="s.2"), post(4, connection="s.2")])
        assert await told(store) == ["-ann replaced", "+ann", "ann: 4"]

    async def test_a_dead_processs_members_with_a_grace_are_lost_first(self, store):
        await store.apply([self.come(), join(client="bob"), post(2, connection="s.1")])
        await self.units(11)
        buried = []

        async def bury(process, at, hubs):
            buried.extend((process, hub) for hub in hubs)

        assert await store.reap(bury) == []
        assert set(buried) == {("p1", "lobby")}
        assert (await store.member("lobby", "ann")).state == "lost"
        assert await store.member("lobby", "bob") is None
        assert await store.reap() == []
        heard = await told(store)
        assert sorted(heard[-2:]) == ["-bob lost", "~ann lost"]
        await self.units(GRACE + 1)
        assert await store.reap() == [("lobby", "hub-events")]
        assert await store.reap() == []
        assert await told(store) == ["-ann lost"]
        await store.apply([self.come("s.2", "p2"), post(2, connection="s.2"), post(3, connection="s.2")])
        assert await told(store) == ["+ann", "ann: 3"]

    async def test_a_member_lost_with_its_process_comes_back_elsewhere(self, store):
        await store.apply([self.come()])
        await self.units(11)
        await store.reap()
        assert (await store.apply([self.come("s.2", "p2")])).outcomes == [RESUMED]
        await self.units(GRACE + 1)
        await store.beat("p2")
        await store.reap()
        assert (await store.member("lobby", "ann")).state == "online"
        assert await told(store) == ["+ann", "~ann lost", "=ann"]

    async def test_one_that_was_lost_before_its_process_died_goes_when_its_grace_is_over(self, store):
        await store.apply([self.come(grace=20), lose()])
        await self.units(11)
        await store.reap()
        assert (await store.member("lobby", "ann")).state == "lost"
        await self.units(10)
        await store.reap()
        assert await store.count("lobby") == 0
        assert await told(store) == ["+ann", "~ann read", "-ann lost"]

    async def test_a_process_that_was_declared_dead_joins_its_members_again(self, store):
        await store.apply([self.come()])
        await self.units(11)
        await store.reap()
        back = self.come("s.2", again="s.1", posted=3)
        assert (await store.apply([back, post(3, connection="s.2")])).outcomes == [RESUMED, DONE]
        assert await told(store) == ["+ann", "~ann lost", "=ann"]
        stale = self.come("s.3", again="s.1")
        assert (await store.apply([stale])).outcomes == [REPLACED]

    async def test_a_number_of_a_members_own_log_tells_where_the_member_is(self, store):
        await store.apply([self.come()])
        (number,) = await store.publish([say_to(client="ann")])
        assert number.process == "p1"
        await store.apply([self.come("s.2", "p2", at=2.5)])
        one, of_hub = await store.publish([say_to(client="ann"), say_to()])
        assert (one.process, of_hub.process) == ("p2", "")
