"""The contract of a store's logs, as tests; see `tests.stores.contract`."""

from dataclasses import replace

from django_hub.stores.ops import History, HubRecord, Number, Publication
from tests.stores.contract import ODD_NAMES, join, leave, post

# What `limits_for` keeps of a log, in items and in units.
SIZE, TTL = 3, 4


def say_to(hub="lobby", item="a", name=None, client="", *, again=False):
    return Publication(hub=hub, item=item, id=name or f"id of {item}", client_id=client, again=again)


def several(count, hub="lobby", client=""):
    return [say_to(hub, str(number), client=client) for number in range(1, count + 1)]


class LogContract:
    async def test_publications_are_numbered_and_kept(self, store):
        one, two = await store.publish([say_to(item="a"), say_to(item="é\0🐙", name="é")])
        (three,) = await store.publish([say_to(item="")])
        assert [one.seq, two.seq, three.seq] == [1, 2, 3]
        assert one.epoch == two.epoch == three.epoch != ""
        assert await store.history("lobby", 0) == History(one.epoch, 3, ((1, "a"), (2, "é\0🐙"), (3, "")))

    async def test_nothing_to_publish_is_nothing(self, store):
        assert await store.publish([]) == []
        assert await store.positions([]) == {}

    async def test_many_of_several_hubs_are_answered_in_their_order(self, store):
        numbers = await store.publish([say_to(hub) for hub in ("b", "a", "b", "c", "a", "b")])
        assert [number.seq for number in numbers] == [1, 1, 2, 1, 2, 3]
        assert len({number.epoch for number in numbers}) == 3

    async def test_history_tells_what_is_above_a_number(self, store):
        await store.publish(several(3))
        assert (await store.history("lobby", 1)).items == ((2, "2"), (3, "3"))
        history = await store.history("lobby", 3)
        assert (history.seq, history.items) == (3, ())

    async def test_only_the_newest_are_kept(self, store):
        await store.publish(several(2))
        await store.publish(several(SIZE + 2))
        history = await store.history("lobby", 0)
        assert history.seq == SIZE + 4
        assert history.items == ((5, "3"), (6, "4"), (7, "5"))
        assert (await store.history("lobby", 4)).items == history.items
        assert (await store.history("lobby", 6)).items == ((7, "5"),)

    async def test_asking_for_history_begins_a_log_and_makes_no_hub(self, store):
        history = await store.history("lobby", 0)
        assert (history.seq, history.items) == (0, ())
        assert await store.history("lobby", 0) == history
        assert await store.publish([say_to()]) == [Number(history.epoch, 1)]
        assert await store.hub("lobby") is None
        assert await store.hubs() == []

    async def test_items_are_gone_after_their_time_and_numbers_go_on(self, store):
        await store.publish([say_to(item="old")])
        await self.units(TTL / 2)
        (number,) = await store.publish([say_to(item="new")])
        await self.units(TTL / 2 + 1)
        assert len((await store.history("lobby", 0)).items) == 2
        await self.units(TTL)
        assert await store.history("lobby", 0) == History(number.epoch, 2)
        assert await store.publish([say_to(item="next")]) == [Number(number.epoch, 3)]
        assert (await store.history("lobby", 0)).items == ((3, "next"),)

    async def test_a_log_nobody_asks_for_is_forgotten_and_begins_in_another_epoch(self, store):
        (number,) = await store.publish([say_to()])
        await self.units(11)
        assert await store.positions(["lobby"]) == {}
        history = await store.history("lobby", 0)
        assert (history.seq, history.items) == (0, ())
        assert history.epoch != number.epoch

    async def test_a_log_that_is_asked_for_stays(self, store):
        (number,) = await store.publish([say_to()])
        await self.units(7)
        await store.positions(["lobby", "none"])
        await self.units(7)
        await store.history("lobby", 0)
        await self.units(7)
        await store.publish([say_to()])
        await self.units(7)
        assert await store.positions(["lobby", "none"]) == {"lobby": Number(number.epoch, 2)}
        assert await store.positions(["none"]) == {}

    async def test_one_that_is_published_again_and_kept_gets_the_number_it_has(self, store):
        first, second = await store.publish([say_to(item="a"), say_to(item="b")])
        assert await store.publish([say_to(item="a", again=True)]) == [first]
        assert await store.publish([say_to(item="b", again=True), say_to(item="c", again=True)]) == [
            second,
            Number(first.epoch, 3),
        ]
        assert (await store.history("lobby", 0)).items == ((1, "a"), (2, "b"), (3, "c"))

    async def test_an_id_that_begins_as_another_one_is_another(self, store):
        await store.publish([say_to(name="12")])
        assert (await store.publish([say_to(name="1", again=True)]))[0].seq == 2

    async def test_one_that_is_published_again_and_not_kept_is_a_new_one(self, store):
        await store.publish(several(SIZE + 1))
        assert (await store.publish([say_to(item="1", again=True)]))[0].seq == SIZE + 2

    async def test_a_hub_may_keep_more_or_less(self, store):
        record = HubRecord(
            name="lobby", events="hub-events", named=True, history_size=1, history_ttl=2.5 * self.unit
        )
        assert await store.create("lobby", None, 1, 2.5 * self.unit) == record
        assert await store.create("lobby", None) == record
        assert await store.hub("lobby") == record
        assert await store.hubs() == [record]
        await store.publish(several(2))
        assert (await store.history("lobby", 0)).items == ((2, "2"),)
        await self.units(3)
        assert (await store.history("lobby", 0)).items == ()
        assert await store.create("lobby", None, 5) == replace(record, history_size=5)
        await store.create("lobby", None, history_ttl=20 * self.unit)
        await store.publish(several(6))
        assert [number for number, _ in (await store.history("lobby", 0)).items] == [4, 5, 6, 7, 8]
        await self.units(12)
        assert [number for number, _ in (await store.history("lobby", 0)).items] == [4, 5, 6, 7, 8]

    async def test_a_hub_that_keeps_none_numbers_all_the_same(self, store):
        for name, size, ttl in (("small", 0, None), ("short", None, 0)):
            await store.publish(several(2, name))
            await store.create(name, None, size, ttl)
            numbers = await store.publish([say_to(name), say_to(name, again=True)])
            assert [number.seq for number in numbers] == [3, 4]
            history = await store.history(name, 0)
            assert (history.seq, history.items) == (4, ())

    async def test_what_a_hub_keeps_goes_with_the_hub(self, store):
        await store.create("lobby", None, 1, 1.0)
        await store.destroy("lobby")
        await store.create("lobby", None)
        record = await store.hub("lobby")
        assert (record.history_size, record.history_ttl) == (None, None)

    async def test_any_name_has_a_log(self, store):
        numbers = await store.publish([say_to(name, name) for name in ODD_NAMES])
        assert {number.seq for number in numbers} == {1}
        for name in ODD_NAMES:
            assert (await store.history(name, 0)).items == ((1, name),)

    # A member's own log

    async def test_a_join_is_told_how_far_its_hubs_log_has_come(self, store):
        applied = await store.apply([join(), join("den", "bob")])
        assert applied.logs == {"lobby": Number("", 0), "den": Number("", 0)}
        assert await store.positions(["lobby"]) == {}
        *_, last = await store.publish(several(SIZE + 1))
        assert (await store.apply([join(client="eve"), post(1)])).logs == {"lobby": last}
        assert (await store.apply([post(2), leave("den", "bob")])).logs == {}

    async def test_a_members_own_log_counts_by_itself(self, store):
        await store.apply([join(), join(client="bob")])
        numbers = await store.publish(
            [say_to(), say_to(item="1", client="ann"), say_to(item="2", client="ann"), say_to(client="bob")]
        )
        epoch = numbers[0].epoch
        assert numbers == [Number(epoch, 1), Number(epoch, 1), Number(epoch, 2), Number(epoch, 1)]
        assert await store.sent("lobby", "ann", 0) == History(epoch, 2, ((1, "1"), (2, "2")))
        assert await store.sent("lobby", "ann", 1) == History(epoch, 2, ((2, "2"),))
        assert await store.history("lobby", 0) == History(epoch, 1, ((1, "a"),))

    async def test_who_is_no_member_has_no_log(self, store):
        assert await store.publish([say_to(client="ann")]) == [None]
        assert await store.positions(["lobby"]) == {}
        await store.apply([join()])
        assert (await store.publish([say_to(client="bob"), say_to(client="ann")]))[0] is None
        sent = await store.sent("lobby", "bob", 0)
        assert (sent.seq, sent.items) == (0, ())
        assert sent.epoch == (await store.history("lobby", 0)).epoch

    async def test_a_members_own_log_is_bounded_too(self, store):
        await store.apply([join()])
        await store.publish(several(SIZE + 2, client="ann"))
        assert [number for number, _ in (await store.sent("lobby", "ann", 0)).items] == [3, 4, 5]
        await self.units(TTL + 1)
        sent = await store.sent("lobby", "ann", 0)
        assert (sent.seq, sent.items) == (5, ())

    async def test_to_a_member_again(self, store):
        await store.apply([join()])
        (number,) = await store.publish([say_to(client="ann")])
        assert await store.publish([say_to(client="ann", again=True)]) == [number]
        assert (await store.sent("lobby", "ann", 0)).seq == 1

    async def test_a_members_own_log_goes_with_the_member(self, store):
        await store.apply([join()])
        await store.publish([say_to(client="ann")])
        await store.apply([leave(), join(connection="ann-2")])
        assert (await store.sent("lobby", "ann", 0)).seq == 0
        await store.publish([say_to(client="ann")])
        await store.apply([join(connection="ann-3")])
        assert (await store.sent("lobby", "ann", 0)).seq == 0
        assert (await store.publish([say_to(client="ann")]))[0].seq == 1

    async def test_a_dead_processs_members_logs_go(self, store):
        await store.apply([join()])
        await store.publish([say_to(client="ann")])
        await self.units(11)
        await store.reap()
        await store.apply([join(connection="ann-2", process="p2")])
        assert (await store.sent("lobby", "ann", 0)).seq == 0

    async def test_whose_own_log_was_published_to_lately_can_be_asked_for(self, store):
        await store.apply([join(), join(client="bob"), join(client="cat")])
        await store.publish([say_to()])
        (before,) = (await store.positions(["lobby"])).values()
        assert before.told == 0
        await store.publish(several(2, client="ann") + several(1, client="bob"))
        (later,) = (await store.positions(["lobby"])).values()
        assert await store.told({"lobby": 0, "elsewhere": 0}) == {"lobby": {"'ann'-1": 2, "'bob'-1": 1}}
        assert await store.told({"lobby": later.told}) == {}
        assert await store.told({}) == {}
        await store.publish([say_to(item="more", client="ann")])
        (latest,) = (await store.positions(["lobby"])).values()
        assert before.told < later.told < latest.told
        assert await store.told({"lobby": later.told}) == {"lobby": {"'ann'-1": 3}}

    async def test_who_is_gone_was_not_told_anything(self, store):
        await store.apply([join(), join(client="bob")])
        await store.publish([say_to(client="ann"), say_to(client="bob")])
        await store.apply([leave(client="bob"), join(connection="ann-2")])
        assert await store.told({"lobby": 0}) == {}
        await store.publish([say_to(item="b", client="ann")])
        assert await store.told({"lobby": 0}) == {"lobby": {"ann-2": 1}}
