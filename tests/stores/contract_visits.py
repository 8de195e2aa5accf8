"""The contract of what is counted over all processes, as tests; see `tests.stores.contract`."""

from dataclasses import replace

from django_hub.stores.ops import Outcome
from django_hub.stores.visits import Place, Score, Visit
from tests.stores.contract import join, leave, told

DONE, CROWDED, RESUMED = Outcome.DONE, Outcome.CROWDED, Outcome.RESUMED


def come(most=2, subject="ann", part="", **more):
    return Visit((Place(subject, most, part),), **more)


def held(count, subject="ann", part=""):
    return {(subject, part): count}


class VisitContract:
    async def test_as_many_come_as_there_are_places_in_all_processes(self, store):
        for process in ("p1", "p2"):
            await store.beat(process)
        assert await store.visit("p1", held(0), [come()]) == [None]
        assert await store.visit("p2", held(0), [come(), come(), come(subject="bob")]) == [None, 0, None]
        assert await store.visit("p1", held(1), [come(), come(None)]) == [0, None]
        assert await store.visit("p1", held(2), [come(goes=True), come(goes=True), come()]) == [None] * 3
        assert await store.visit("p1", held(1), [come()]) == [0]

    async def test_a_call_that_is_repeated_counts_once(self, store):
        await store.beat("p1")
        for _ in range(5):
            assert await store.visit("p1", held(0), [come(3), come(3)]) == [None, None]
        assert await store.visit("p1", held(2), [come(3), come(3)]) == [None, 0]
        for _ in range(5):
            assert await store.visit("p1", held(3), [come(goes=True)]) == [None]
        assert await store.visit("p1", held(2), [come(3), come(3)]) == [None, 0]

    async def test_who_gets_not_all_gets_none(self, store):
        await store.beat("p1")
        both = Visit((Place("ann", 2), Place("home", 1)))
        assert await store.visit("p1", {}, [both, both, come(), come()]) == [None, 1, None, 0]

    async def test_parts_are_counted_where_they_differ(self, store):
        for process in ("p1", "p2"):
            await store.beat(process)
        assert await store.visit("p1", {}, [come(2, part="a"), come(2, part="a")]) == [None, None]
        assert await store.visit("p2", {}, [come(2, part="a"), come(2, part="b\n")]) == [None, None]
        assert await store.visit("p2", {}, [come(2, part="c"), come(2, part="b\n")]) == [0, None]
        gone = [come(goes=True, part="a")] * 2
        await store.visit("p1", held(2, part="a"), gone)
        assert await store.visit("p1", {}, [come(2, part="c")]) == [0]
        await store.visit("p2", held(1, part="a"), gone[:1])
        assert await store.visit("p1", {}, [come(2, part="c")]) == [None]

    async def test_what_a_dead_process_holds_is_nobodys(self, store):
        await store.beat("p1")
        await store.beat("p2")
        assert await store.visit("p1", {}, [come(), come()]) == [None, None]
        assert await store.visit("p2", {}, [come()]) == [0]
        await self.advance(store.limits.process_lease * 0.6)
        await store.beat("p2")
        await self.advance(store.limits.process_lease * 0.6)
        assert await store.visit("p2", {}, [come()]) == [None]
        # Late, and not dead: what it holds counts again.
        await store.beat("p1")
        assert await store.visit("p2", held(1), [come()]) == [0]
        await self.advance(store.limits.process_lease * 1.1)
        await store.reap()
        assert await store.visit("p3", {}, [come(), come(), come()]) == [None, None, 0]
        # It was dead, and says what it holds.
        await store.beat("p3")
        await store.beat("p1")
        await store.visit("p1", held(2), [])
        assert await store.visit("p3", held(2), [come(5), come(5)]) == [None, 0]

    async def test_a_score_counts_how_often_somebody_came_lately(self, store):
        await store.beat("p1")
        half_life = 8 * self.unit
        often = Visit(scores=(Score("ann", 4, half_life),))
        assert await store.visit("p1", {}, [often] * 6) == [None] * 4 + [0, 0]
        assert await store.visit("p2", {}, [often]) == [0]
        assert await store.visit("p1", {}, [replace(often, scores=(Score("bob", 4, half_life),))]) == [None]
        # It is at 7 now, and never above 8.
        await store.visit("p1", {}, [often] * 100)
        await self.advance(half_life * 1.05)
        # 8 has become a little less than 4.
        assert await store.visit("p1", {}, [often]) == [0]
        await self.advance(half_life * 1.05)
        assert (await store.visit("p1", {}, [often] * 3))[0] is None

    async def test_a_clock_that_was_put_back_makes_a_score_no_larger(self, store):
        await store.beat("p1")
        visit = Visit(scores=(Score("ann", 4, 100 * self.unit),))
        assert await store.visit("p1", {}, [visit, visit]) == [None, None]
        await self.put_back(store, 1000 * self.unit)
        assert await store.visit("p1", {}, [visit, visit, visit]) == [None, None, 0]

    async def test_places_and_scores_together(self, store):
        await store.beat("p1")
        visit = Visit((Place("ann", 1),), (Score("ann", 2, 100.0), Score("home", 1, 100.0)))
        assert await store.visit("p1", {}, [visit, visit]) == [None, 0]
        assert await store.visit("p1", held(1), [come(goes=True), visit]) == [None, 1]
        assert await store.visit("p1", {}, []) == []

    async def test_a_full_hub_takes_no_newcomer(self, store):
        two = {"most": 2}
        ops = [replace(join(client=client, connection=client), **two) for client in ("ann", "bob", "eve")]
        for _ in range(2):
            applied = await store.apply(ops)
            assert applied.outcomes == [DONE, DONE, CROWDED]
        assert await store.count("lobby") == 2
        assert await store.member("lobby", "eve") is None
        assert await store.find("eve") is None
        # That it leaves changes nothing, and neither do its process' last hours.
        assert (await store.apply([leave(client="eve", connection="eve")])).outcomes == [DONE]
        assert await told(store) == ["+ann", "+bob"]
        # Another connection of one that is there is no newcomer; nor one that was there, and joins again.
        back = replace(join(client="ann", connection="ann2"), **two)
        again = replace(join(client="eve", connection="eve2"), again="eve", **two)
        assert (await store.apply([back, again])).outcomes == [DONE, DONE]
        assert await store.count("lobby") == 3

    async def test_a_full_hub_takes_back_who_is_lost(self, store):
        one = replace(join(client="ann", connection="s.1"), most=1, grace=100.0, resumed="back")
        assert (await store.apply([one])).outcomes == [DONE]
        other = replace(join(client="bob", connection="t.1"), most=1)
        assert (await store.apply([other, replace(one, connection="s.2")])).outcomes == [CROWDED, RESUMED]

    async def test_a_hub_that_is_refused_is_not_made(self, store):
        none = replace(join(client="ann", connection="c", hub="closed"), most=0)
        assert (await store.apply([none])).outcomes == [CROWDED]
        assert await store.hub("closed") is None
        assert await store.hubs() == []
