"""The contract of what a store remembers for a while, as tests; see `tests.stores.contract`."""

import asyncio


class MarkContract:
    async def test_a_ban_is_known_with_its_reason_until_it_is_over(self, store):
        await store.ban("lobby", "user:7", 2 * self.unit, "spam é")
        await store.ban("lobby", "client:ann", 200 * self.unit, "")
        asked = [("lobby", "user:7"), ("lobby", "client:ann"), ("garden", "user:7"), ("lobby", "user:8")]
        assert await store.bans(asked) == ["spam é", "", None, None]
        assert await store.bans([asked[3], asked[2], asked[0]]) == [None, None, "spam é"]
        await self.advance(2.2 * self.unit)
        assert await store.bans(asked) == [None, "", None, None]

    async def test_nobody_asked_about_is_nobody_banned(self, store):
        assert await store.bans([]) == []

    async def test_a_ban_that_is_set_again_counts_from_then_on(self, store):
        await store.ban("lobby", "user:7", 2 * self.unit, "once")
        await store.ban("lobby", "user:7", 20 * self.unit, "twice")
        await self.advance(3 * self.unit)
        assert await store.bans([("lobby", "user:7")]) == ["twice"]
        await store.ban("lobby", "user:7", 0.5 * self.unit, "short")
        await self.advance(self.unit)
        assert await store.bans([("lobby", "user:7")]) == [None]

    async def test_a_ban_is_taken_back_once(self, store):
        await store.ban("lobby", "user:7", 20 * self.unit, "spam")
        assert await store.unban("garden", "user:7") is False
        assert await store.unban("lobby", "user:7") is True
        assert await store.unban("lobby", "user:7") is False
        assert await store.bans([("lobby", "user:7")]) == [None]

    async def test_a_ban_that_is_over_can_not_be_taken_back(self, store):
        await store.ban("lobby", "user:7", 0.5 * self.unit, "spam")
        await self.advance(self.unit)
        assert await store.unban("lobby", "user:7") is False

    async def test_a_ban_makes_no_hub(self, store):
        await store.ban("lobby", "user:7", 20 * self.unit, "spam")
        assert await store.hub("lobby") is None
        assert await store.hubs() == []

    async def test_a_ticket_is_spent_once_and_its_spender_may_ask_again(self, store):
        assert await store.spend("t1", "a", 20 * self.unit) is True
        assert await store.spend("t1", "b", 20 * self.unit) is False
        assert await store.spend("t1", "a", 20 * self.unit) is True
        assert await store.spend("t2", "b", 20 * self.unit) is True

    async def test_of_many_at_once_one_spends_the_ticket(self, store):
        spent = await asyncio.gather(*(store.spend("t1", str(by), 20 * self.unit) for by in range(20)))
        assert sum(spent) == 1

    async def test_a_spent_ticket_is_remembered_for_its_time(self, store):
        await store.spend("t1", "a", 2 * self.unit)
        await self.advance(self.unit)
        assert await store.spend("t1", "b", 2 * self.unit) is False
        await self.advance(1.2 * self.unit)
        assert await store.spend("t1", "b", 2 * self.unit) is True
