"""The service of hubs: order, side by side, failures, leases, and the end."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from django_hub import service as module
from django_hub.batching import Batcher
from django_hub.bells import Bells
from django_hub.connection import Connection
from django_hub.events import Event
from django_hub.exceptions import Unavailable
from django_hub.layers.base import Layer
from django_hub.limits import Limits
from django_hub.service import HubService
from django_hub.stores.ops import Claim, Commit, Lease, Leave, Post
from tests.apps import EVENTS, Clock, FaultyLayer, FaultyStore, make_connection, tell
from tests.apps import world as world
from tests.sockets import turns, until


class Shop:
    """A service with a store whose clock stands still, and what its handler was given."""

    def __init__(self, most: int = 100, **limits: Any) -> None:
        self.clock = Clock()
        self.store = FaultyStore(Limits(**limits), self.clock)
        self.handled: list[tuple[str, ...]] = []
        self.failing: dict[str, BaseException] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.reached: list[str] = []
        self.cancelling: set[str] = set()
        self.members: dict[str, Connection] = {}
        self.layer = FaultyLayer()
        self.service = HubService(self.handle, self.store, Bells(Layer(self.layer)), most)

    async def handle(self, event: Event) -> None:
        data = str(getattr(event, "data", ""))
        self.reached.append(data)
        if data in self.gates:
            await self.gates[data].wait()
        if data in self.cancelling:
            task = asyncio.create_task(asyncio.sleep(0))
            task.cancel()
            await task
        if data in self.failing:
            raise self.failing[data]
        self.handled.append((event.hub, *tell(event)))

    async def post(self, hub: str, *texts: str) -> None:
        """Messages of the hub's one member, which joins with the first."""
        if hub not in self.members:
            member = self.members[hub] = make_connection("ann", hub)
            await self.store.apply([member.join_op("p")])
        for text in texts:
            member = self.members[hub]
            op = member.post_op(member.number(None), text)
            await self.store.apply([op])

    async def hold(self, text: str, *after: str) -> None:
        """Post these to hub a; return with the first in hand, until its gate is set."""
        self.gates[text] = asyncio.Event()
        await self.post("a", text, *after)
        self.service.wake(["a"])
        await until(lambda: text in self.reached)

    async def said(self, *texts: str, hub: str = "a") -> None:
        """Wait until just these messages of the hub are handled."""
        await until(lambda: len(self._texts(hub)) >= len(texts))
        assert self._texts(hub) == list(texts)

    def _texts(self, hub: str) -> list[str]:
        return [each[3] for each in self.handled if each[:2] == (hub, "message")]

    async def done(self) -> None:
        await until(self._is_done)

    async def _is_done(self) -> bool:
        return not await self.store.waiting() and not self.service._serving


@pytest.fixture
async def shops() -> AsyncIterator[list[Shop]]:
    """Shops that are closed with the test."""
    shops: list[Shop] = []
    yield shops
    for shop in shops:
        for gate in shop.gates.values():
            gate.set()
        await shop.service.close(1.0)


@pytest.fixture
def shop(shops: list[Shop]) -> Shop:
    shops.append(Shop())
    return shops[0]


async def test_a_hubs_events_are_handled_in_order(shop: Shop) -> None:
    await shop.post("a", "1", "2", "3")
    shop.service.wake(["a"])
    await shop.done()
    assert shop.handled == [("a", "joined", "ann"), *(("a", "message", "ann", n) for n in "123")]


async def test_more_than_a_batch(shops: list[Shop]) -> None:
    shop = Shop(batch=3)
    shops.append(shop)
    texts = [str(number) for number in range(20)]
    await shop.post("a", *texts)
    shop.service.wake(["a"])
    await shop.said(*texts)


async def test_hubs_are_handled_side_by_side(shop: Shop) -> None:
    shop.gates["slow"] = asyncio.Event()
    await shop.post("a", "slow", "after")
    await shop.post("b", "quick")
    shop.service.wake(["a", "b"])
    await shop.said("quick", hub="b")
    assert shop._texts("a") == []
    shop.gates["slow"].set()
    await shop.said("slow", "after")


async def test_one_event_of_a_hub_at_a_time(shop: Shop) -> None:
    await shop.hold("1", "2")
    shop.service.wake(["a", "a"])
    await turns()
    assert "2" not in shop.reached
    shop.gates["1"].set()
    await shop.said("1", "2")


async def test_no_more_hubs_at_once_than_allowed_and_the_others_follow(shops: list[Shop]) -> None:
    shop = Shop(most=2)
    shops.append(shop)
    shop.gates["wait"] = asyncio.Event()
    for hub in "abcd":
        await shop.post(hub, "wait")
    shop.service.wake("abcd")
    await until(lambda: shop.reached.count("wait") == 2)
    await turns()
    assert shop.reached.count("wait") == 2
    shop.gates["wait"].set()
    await until(lambda: shop.reached.count("wait") == 4)
    await shop.done()


async def test_mail_that_comes_while_the_last_event_is_handled(shop: Shop) -> None:
    await shop.hold("1")
    await shop.post("a", "2")
    shop.gates["1"].set()
    await shop.said("1", "2")


async def test_a_wake_for_a_hub_without_mail(shop: Shop) -> None:
    shop.service.wake(["nowhere"])
    await shop.done()
    assert shop.handled == []


async def test_a_handler_that_raises_costs_its_event_only(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.failing["2"] = ValueError("no")
    await shop.post("a", "1", "2", "3")
    shop.service.wake(["a"])
    await shop.said("1", "3")
    await shop.done()
    (letter,) = await shop.store.dead_letters("a")
    assert letter.error == "ValueError: no"
    assert '"2"' in letter.body
    assert "a dead letter" in caplog.text


async def test_an_entry_that_is_no_event_is_a_dead_letter(shop: Shop) -> None:
    await shop.post("a", "1")
    member = shop.members["a"]
    await shop.store.apply([Post(hub="a", client_id="ann", connection=member.id, number=9, body="{")])
    member.numbered = 9
    await shop.post("a", "2")
    shop.service.wake(["a"])
    await shop.said("1", "2")
    await shop.done()
    (letter,) = await shop.store.dead_letters("a")
    assert letter.error.startswith("UnreadableEvent: ")


async def test_another_workers_hub_is_left_alone(shop: Shop) -> None:
    await shop.post("a", "1")
    (claim,) = await shop.store.claim(["a"], "another")
    shop.service.wake(["a"])
    await turns(50)
    assert shop.handled == []
    await shop.store.commit([Commit("a", claim.token, claim.batch[-1].position)])


async def test_a_store_that_is_gone_at_the_claim(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.store.fail["claim"] = [Unavailable("gone")]
    await shop.post("a", "1")
    shop.service.wake(["a"])
    await shop.said("1")
    assert "A hub's events wait for the store: gone" in caplog.text


async def test_a_bug_in_a_store_puts_a_hub_aside(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    shop.store.fail["claim"] = [KeyError("bug")]
    await shop.post("a", "1")
    shop.service.wake(["a"])
    await until(lambda: "Hub a is put aside" in caplog.text)
    shop.service.wake(["a"])
    await shop.said("1")


async def test_a_damaged_hub_is_put_aside_and_those_claimed_with_it_are_handled(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    await shop.post("a", "1")
    await shop.post("b", "2")
    shop.store.damaged = {"a"}
    shop.service.wake(["a", "b"])
    await shop.said("2", hub="b")
    await until(lambda: "Hub a is put aside" in caplog.text)
    assert shop.store.calls.count("claim") == 1
    shop.store.damaged = set()
    shop.service.wake(["a"])
    await shop.said("1")


async def test_a_commit_waits_for_the_store_and_nothing_is_handled_twice(shop: Shop) -> None:
    shop.store.fail["commit"] = [Unavailable("gone")] * 2
    await shop.post("a", "1", "2")
    shop.service.wake(["a"])
    await shop.done()
    assert shop._texts("a") == ["1", "2"]


async def test_a_commit_whose_reply_is_lost_handles_nothing_twice(shop: Shop) -> None:
    shop.store.lost["commit"] = 1
    await shop.post("a", "1", "2")
    shop.service.wake(["a"])
    await shop.done()
    assert shop._texts("a") == ["1", "2"]


async def steal(shop: Shop, worker: str = "another") -> str:
    """The hub's lease runs out, and another worker takes it."""
    shop.clock.now += shop.store.limits.hub_lease + 1
    (claim,) = await shop.store.claim(["a"], worker)
    assert claim.lease is Lease.HELD
    return claim.token


async def test_a_slow_handler_keeps_its_lease(shops: list[Shop]) -> None:
    shop = Shop(hub_lease=0.03)
    shops.append(shop)
    await shop.hold("1")
    for _ in range(5):
        shop.clock.now += 0.02
        renewed = shop.store.calls.count("renew")
        await until(lambda before=renewed: shop.store.calls.count("renew") > before + 1)
        (claim,) = await shop.store.claim(["a"], "another")
        assert claim.lease is Lease.FREE
    shop.gates["1"].set()
    await shop.done()


async def test_who_lost_the_lease_handles_no_more_of_the_batch(
    shops: list[Shop], caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(hub_lease=0.03)
    shops.append(shop)
    await shop.hold("1", "2")
    token = await steal(shop)
    renewed = shop.store.calls.count("renew")
    await until(lambda: shop.store.calls.count("renew") > renewed + 1)
    shop.gates["1"].set()
    await until(lambda: "Hub a was taken over" in caplog.text)
    await until(lambda: not shop.service._serving)
    assert shop._texts("a") == ["1"]
    (claim,) = await shop.store.claim(["a"], "another")
    assert (claim.token, len(claim.batch)) == (token, 3)
    await shop.store.commit([Commit("a", token, claim.batch[-1].position)])


async def test_who_lost_the_lease_and_learns_it_at_the_commit(shop: Shop) -> None:
    await shop.hold("1")
    token = await steal(shop)
    shop.gates["1"].set()
    await until(lambda: not shop.service._serving)
    (claim,) = await shop.store.claim(["a"], "another")
    assert (claim.token, len(claim.batch)) == (token, 2)
    await shop.store.commit([Commit("a", token, claim.batch[-1].position)])


async def test_a_hub_that_was_lost_and_is_ours_again_is_handled(shops: list[Shop]) -> None:
    """Woken for new mail while the handler still hangs in the batch that was taken over."""
    shop = Shop(hub_lease=0.03)
    shops.append(shop)
    await shop.hold("1")
    token = await steal(shop)
    renewed = shop.store.calls.count("renew")
    await until(lambda: shop.store.calls.count("renew") > renewed + 1)
    (claim,) = await shop.store.claim(["a"], "another")
    await shop.store.commit([Commit("a", token, claim.batch[-1].position)])
    await shop.post("a", "2")
    shop.service.wake(["a"])
    shop.gates["1"].set()
    await shop.said("1", "2")


async def test_an_answer_about_the_lease_that_was_lost_is_not_of_the_next_one(shops: list[Shop]) -> None:
    shop = Shop(hub_lease=0.03)
    shops.append(shop)
    renew, claim = shop.store.renew, shop.store.claim
    asked, answer = asyncio.Event(), asyncio.Event()

    async def renew_slowly(leases: Any) -> list[bool]:
        kept = await renew(leases)
        asked.set()
        await answer.wait()
        return kept

    async def claim_meanwhile(hubs: Any, worker: str) -> list[Claim]:
        answer.set()
        await turns()
        return await claim(hubs, worker)

    await shop.hold("1")
    token = await steal(shop)
    await until(lambda: shop.service._serving["a"].lost)
    shop.store.renew = renew_slowly  # type: ignore[method-assign]
    await asked.wait()
    (other,) = await claim(["a"], "another")
    await shop.store.commit([Commit("a", token, other.batch[-1].position)])
    await shop.post("a", "2")
    shop.service.wake(["a"])
    shop.store.claim = claim_meanwhile  # type: ignore[method-assign, assignment]
    shop.gates["1"].set()
    await shop.said("1", "2")


@pytest.mark.parametrize(("error", "told"), [(Unavailable("gone"), "gone"), (KeyError("bug"), "'bug'")])
async def test_leases_that_can_not_be_renewed_are_tried_again(
    shops: list[Shop], caplog: pytest.LogCaptureFixture, error: Exception, told: str
) -> None:
    shop = Shop(hub_lease=0.03)
    shops.append(shop)
    shop.store.fail["renew"] = [error]
    shop.gates["1"] = asyncio.Event()
    await shop.post("a", "1", "2")
    shop.service.wake(["a"])
    await until(lambda: shop.store.calls.count("renew") > 1)
    assert f"Leases not renewed: {told}" in caplog.text
    shop.gates["1"].set()
    await shop.said("1", "2")


async def test_closing_finishes_the_event_in_hand_and_gives_the_rest_back(shop: Shop) -> None:
    await shop.hold("1", "2")
    closing = asyncio.create_task(shop.service.close(5.0))
    await turns()
    assert not closing.done()
    shop.gates["1"].set()
    await closing
    assert shop._texts("a") == ["1"]
    (claim,) = await shop.store.claim(["a"], "another")
    assert [letter.body[-4:-1] for letter in claim.batch] == ['"2"']


async def test_closing_stops_a_handler_that_takes_too_long_and_its_event_is_not_lost(shop: Shop) -> None:
    shop.gates["2"] = asyncio.Event()
    await shop.post("a", "1", "2")
    shop.service.wake(["a"])
    await until(lambda: "2" in shop.reached)
    await shop.service.close(0.01)
    (claim,) = await shop.store.claim(["a"], "another")
    assert [letter.body[-4:-1] for letter in claim.batch] == ['"2"']


async def test_after_closing_nothing_is_begun(shop: Shop) -> None:
    await shop.service.close(1.0)
    await shop.post("a", "1")
    shop.service.wake(["a"])
    await turns()
    assert shop.handled == []


async def test_when_all_is_handled_no_task_is_left(shop: Shop) -> None:
    before = asyncio.all_tasks()
    for hub in "abc":
        await shop.post(hub, "1")
    shop.service.wake("abc")
    await shop.done()
    await until(lambda: asyncio.all_tasks() == before)


async def test_a_hub_that_is_done_with_is_gone_from_the_store(shop: Shop) -> None:
    await shop.post("a", "1")
    member = shop.members["a"]
    leave = Leave(hub="a", client_id="ann", connection=member.id, process="p", body="[]")
    await shop.store.apply([leave])
    shop.service.wake(["a"])
    await shop.done()
    assert await shop.store.hubs() == []


async def test_a_cancellation_that_is_not_ours_is_a_failure_as_any(shop: Shop) -> None:
    shop.cancelling = {"1"}
    await shop.post("a", "1", "2")
    shop.service.wake(["a"])
    await shop.said("2")
    await shop.done()
    assert [letter.error for letter in await shop.store.dead_letters("a")] == ["CancelledError: "]


async def test_a_handler_that_wants_to_end_its_process_ends_nothing(shop: Shop) -> None:
    """It may call code that was written for a command line; others' sockets are in this process."""
    shop.failing["1"] = SystemExit(3)
    await shop.post("a", "1", "2")
    shop.service.wake(["a"])
    await shop.said("2")
    await shop.done()
    assert [letter.error for letter in await shop.store.dead_letters("a")] == ["SystemExit: 3"]


async def test_what_is_given_back_with_mail_left_is_rung_for(shop: Shop) -> None:
    await shop.hold("1", "2")
    closing = asyncio.create_task(shop.service.close(5.0))
    await turns()
    shop.gates["1"].set()
    await closing
    assert (await shop.layer.receive(EVENTS))["hubs"] == ["a"]


async def test_what_many_hubs_give_back_is_looked_for_once(shop: Shop) -> None:
    shop.gates["1"] = asyncio.Event()
    for hub in "abc":
        await shop.post(hub, "1", "2")
    shop.service.wake("abc")
    await until(lambda: shop.reached.count("1") == 3)
    closing = asyncio.create_task(shop.service.close(5.0))
    await turns()
    shop.gates["1"].set()
    await closing
    assert shop.store.calls.count("unclaimed") == 1
    assert sorted((await shop.layer.receive(EVENTS))["hubs"]) == ["a", "b", "c"]


@pytest.mark.parametrize("error", [Unavailable("gone"), KeyError("gone")])
async def test_a_store_that_fails_at_the_end_ends_nothing_else(
    shop: Shop, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    await shop.hold("1", "2")
    shop.store.fail["unclaimed"] = [error]
    closing = asyncio.create_task(shop.service.close(5.0))
    await turns()
    shop.gates["1"].set()
    await closing
    assert "What is left is not rung for, for now" in caplog.text


async def test_database_connections_are_looked_after_now_and_then_and_after_a_failure(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []

    async def look() -> None:
        looks.append("looked")

    monkeypatch.setattr(module, "aclose_old_connections", look)
    monkeypatch.setattr(module, "_STALE", 3600.0)
    shop.service._refreshed = asyncio.get_running_loop().time()
    await shop.post("a", "1")
    shop.service.wake(["a"])
    await shop.done()
    assert looks == []
    shop.failing["2"] = ValueError("no")
    await shop.post("a", "2")
    shop.service.wake(["a"])
    await shop.done()
    assert looks == []
    monkeypatch.setattr(module, "_STALE", -1.0)
    await shop.post("a", "3")
    shop.service.wake(["a"])
    await shop.done()
    assert looks == ["looked"]


async def _die(shops: list[Shop], dying: Shop) -> Shop:
    """The worker ends without a word, and another one takes its place when its leases have run out."""
    tasks = [serving.task for serving in dying.service._serving.values() if serving.task]
    dying.service._commits = dying.service._claims = Batcher(_never)  # type: ignore[assignment]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    heir = Shop()
    heir.store, heir.clock, heir.gates, heir.members = dying.store, dying.clock, dying.gates, dying.members
    heir.service = HubService(heir.handle, heir.store, Bells(Layer(heir.layer)), 100)
    shops.append(heir)
    heir.clock.now += heir.store.limits.hub_lease + 1
    heir.service.wake(["a"])
    return heir


async def _never(_: Sequence[Any]) -> list[Any]:
    raise asyncio.CancelledError


async def test_an_event_that_ends_each_worker_is_a_dead_letter(
    shop: Shop, shops: list[Shop], caplog: pytest.LogCaptureFixture
) -> None:
    shop.gates["deadly"] = asyncio.Event()
    await shop.post("a", "1", "2", "deadly", "3")
    shop.service.wake(["a"])
    for number in range(4):
        await until(lambda: "deadly" in shops[-1].reached)
        # Those before it are handled once more, each by itself, and no third time.
        assert shops[-1].reached == (["", "1", "2", "deadly"] if number < 2 else ["deadly"])
        await _die(shops, shops[-1])
    heir = shops[-1]
    await until(lambda: "3" in heir.reached)
    assert heir.reached == ["3"]
    (letter,) = await heir.store.dead_letters("a")
    assert "deadly" in letter.body
    assert letter.error == "Deadly: 3 workers died, or lost the hub's lease, with it in hand"
    assert f"Event {letter.position} of hub a failed" in caplog.text
    await heir.done()


async def test_a_worker_that_stops_in_order_is_no_try(shop: Shop, shops: list[Shop]) -> None:
    shop.gates["slow"] = asyncio.Event()
    await shop.post("a", "slow")
    for _ in range(5):
        one = Shop()
        shops.append(one)
        one.store, one.gates, one.clock = shop.store, shop.gates, shop.clock
        one.service = HubService(one.handle, one.store, Bells(Layer(one.layer)), 100)
        one.service.wake(["a"])
        await until(lambda one=one: "slow" in one.reached)  # type: ignore[misc]
        await one.service.close(0.0)
    assert await shop.store.dead_letters("a") == []
    shop.gates["slow"].set()
    shop.service.wake(["a"])
    await shop.done()
    assert shop.handled[-1][3] == "slow"
