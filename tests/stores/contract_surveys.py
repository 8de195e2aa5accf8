"""The promises of `django_hub.stores.survey`, as tests; a part of the contract."""

from dataclasses import replace

from django_hub.events import joined_body
from django_hub.stores.ops import Commit, DeadLetter
from django_hub.stores.survey import TAIL_KEPT
from tests.stores.contract import join, leave, post


async def claimed(store, hub="lobby", dead=()):
    """Handle all mail of the hub; of the positions in ``dead`` (by order) dead letters are made."""
    (claim,) = await store.claim([hub], "w")
    bodies = []
    while claim.batch:
        bodies += [letter.body for letter in claim.batch]
        letters = tuple(
            DeadLetter(hub=hub, position=each.position, body=each.body, error="E: é", at=store_time(store))
            for at, each in enumerate(claim.batch)
            if at in dead
        )
        dead = ()
        (claim,) = await store.commit([Commit(hub, claim.token, claim.batch[-1].position, letters)])
    return bodies


def store_time(store):
    clock = getattr(store, "_clock", None)
    import time

    return clock() if clock else time.time()


class SurveyContract:
    async def let_mail_wait(self):
        """For some seconds; returns how many."""
        await self.advance(self.unit)
        return self.unit

    async def test_a_hub_is_surveyed(self, store):
        await store.apply([join(), join(client="bob"), post(number=1)])
        waited = await self.let_mail_wait()
        lobby, none = await store.survey(["lobby", "nowhere"])
        assert (lobby.there, lobby.members, lobby.mail, lobby.worker) == (True, 2, 3, "")
        assert lobby.lag >= waited * 0.9
        assert abs(lobby.oldest + lobby.lag - self.now()) < 1
        assert (none.there, none.members, none.mail, none.lag) == (False, 0, 0, None)
        await store.claim(["lobby"], "a worker")
        assert (await store.survey(["lobby"]))[0].worker == "a worker"
        assert await store.survey([]) == []

    async def test_all_hubs_are_surveyed_a_page_at_a_time(self, store):
        names = [f"hub {number}" for number in range(5)]
        await store.apply([join(name) for name in reversed(names)])
        await store.create("named", None)
        (first, second) = await store.survey_page(most=2)
        assert [first.name, second.name] == names[:2]
        (alone,) = await store.survey(names[:1])
        assert replace(first, lag=None) == replace(alone, lag=None)
        assert (alone.there, alone.members, alone.mail) == (True, 1, 1)
        following = await store.survey_page(names[2], 100)
        assert [state.name for state in following] == [*names[3:], "named"]
        assert await store.survey_page("named") == []

    async def test_hubs_that_are_gone_are_on_no_page(self, store):
        await store.apply([join(name) for name in ("a", "b", "c")])
        for name in ("a", "b"):
            await claimed(store, name)
            await store.apply([leave(name)])
            await claimed(store, name)
        assert [state.name for state in await store.survey_page(most=1)] == ["c"]

    async def test_a_survey_makes_no_hub_and_no_log(self, store):
        await store.survey(["lobby"])
        await store.tail("lobby", None)
        assert await store.hubs() == []
        assert await store.positions(["lobby"]) == {}

    async def test_totals_busy_hubs_and_processes(self, store):
        await store.apply([join(), join("garden", process="p2")])
        await claimed(store, "garden")
        totals = await store.totals()
        assert (totals.hubs, totals.members) == (2, 2)
        assert "lobby" in await store.busy(10)
        assert len(await store.busy(1)) == 1
        assert set(await store.processes(10)) == {"p1", "p2"}
        assert len(await store.processes(1)) == 1

    async def test_what_is_handled_is_in_the_tail_while_somebody_looks(self, store):
        await store.apply([join()])
        await claimed(store)
        start = await store.tail("lobby", None)
        assert start.items == ()
        await store.apply([post(number=1), post(number=2)])
        await claimed(store, dead=(1,))
        tail = await store.tail("lobby", start.position)
        assert [(item.client_id, item.failed) for item in tail.items] == [("ann", False), ("ann", True)]
        assert not tail.missed
        assert (await store.tail("lobby", tail.position)).items == ()
        assert (await store.tail("lobby", start.position, 1)).missed

    async def test_the_tail_is_bounded(self, store):
        await store.apply([join()])
        await claimed(store)
        start = await store.tail("lobby", None)
        for number in range(1, TAIL_KEPT + 8):
            await store.apply([post(number=number)])
            await claimed(store)
            if number % 100 == 0:
                await store.tail("lobby", start.position, 1)
        tail = await store.tail("lobby", start.position, TAIL_KEPT + 100)
        assert tail.missed
        assert len(tail.items) == TAIL_KEPT

    async def test_dead_letters_are_mail_again_at_the_end_once(self, store):
        await store.apply([join(), post(number=1)])
        await claimed(store, dead=(0,))
        await store.apply([post(number=2)])
        letters = await store.dead_letters("lobby")
        revived = await store.revive(letters)
        assert (revived.count, revived.wakes) == (1, [])
        assert await store.dead_letters("lobby") == []
        assert (await store.revive(letters)).count == 0
        bodies = await claimed(store)
        assert len(bodies) == 2
        assert bodies[1] == letters[0].body
        assert (await store.survey(["lobby"]))[0].mail == 0

    async def test_reviving_wakes_and_needs_a_hub(self, store):
        await store.create("lobby", "room-events")
        await store.apply([join()])
        await claimed(store, dead=(0,))
        letters = await store.dead_letters("lobby")
        assert (await store.revive(letters)).wakes == [("lobby", "room-events")]
        ghost = DeadLetter(
            hub="gone", position=1, body=joined_body('"x",null,{},false', 1.5), error="", at=1.0
        )
        assert (await store.revive([ghost])).count == 0
        assert (await store.revive([])).count == 0
        assert await store.hub("gone") is None

    async def test_dead_letters_are_discarded_one_by_one(self, store):
        await store.apply([join(), post(number=1)])
        await claimed(store, dead=(0, 1))
        first, second = await store.dead_letters("lobby")
        assert (await store.survey(["lobby"]))[0].dead_letters == 2
        assert await store.discard([first]) == 1
        assert await store.discard([first]) == 0
        assert await store.dead_letters("lobby") == [second]
        assert await store.discard([]) == 0
