"""The outbox: one ordered way into the store, through lost replies."""

import asyncio

import pytest

from django_hub.bells import Bells
from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.events import read_body
from django_hub.exceptions import Damaged, Unavailable
from django_hub.layers.base import Layer
from django_hub.outbox import Outbox
from django_hub.stores.ops import Address, Outcome
from django_hub.taking import Posting
from tests.apps import EVENTS, FaultyLayer, FaultyStore, make_connection, tell
from tests.apps import world as world

GONE = Departure(reason="close")


class Office:
    """An outbox with all that belongs to it."""

    def __init__(self) -> None:
        self.layer = FaultyLayer()
        self.store = FaultyStore()
        self.replaced: list[tuple[str, Address]] = []
        self.outbox = Outbox(self.store, Bells(Layer(self.layer)))
        self.outbox.replaced = lambda hub, address, _: self.replaced.append((hub, address))

    async def told(self, hub: str = "lobby") -> list[tuple[str, ...]]:
        return [tell(read_body(hub, 0, body)) for body in await self.store.mail(hub)]


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def ann() -> Connection:
    return make_connection("ann")


async def test_ops_stand_in_the_mailbox_in_the_order_of_put(office: Office, ann: Connection) -> None:
    bob = make_connection("bob")
    futures = [
        office.outbox.put(op)
        for op in (
            ann.join_op("p"),
            ann.post_op(Posting(1), "hi"),
            bob.join_op("p"),
            bob.post_op(Posting(1), "ho"),
        )
    ]
    assert await asyncio.gather(*futures) == [Outcome.DONE] * 4
    await office.outbox.put(ann.leave_op(GONE, []))
    assert await office.told() == [
        ("joined", "ann"),
        ("message", "ann", "hi"),
        ("joined", "bob"),
        ("message", "bob", "ho"),
        ("left", "ann", "close"),
    ]


async def test_what_waits_goes_in_one_call(office: Office) -> None:
    futures = [office.outbox.put(make_connection(str(n)).join_op("p")) for n in range(50)]
    await asyncio.gather(*futures)
    assert [len(ops) for ops in office.store.applied] == [50]


async def test_a_lost_reply_is_asked_for_with_the_same_call(office: Office, ann: Connection) -> None:
    office.store.lost = {"apply": 2}
    join = office.outbox.put(ann.join_op("p"))
    post = office.outbox.put(ann.post_op(Posting(1), "hi"))
    assert await asyncio.gather(join, post) == [Outcome.DONE] * 2
    first, second, third = office.store.applied
    assert first == second == third
    assert await office.told() == [("joined", "ann"), ("message", "ann", "hi")]


async def test_what_comes_while_the_store_is_gone_waits_behind(office: Office, ann: Connection) -> None:
    office.store.fail = {"apply": [Unavailable("no"), Unavailable("no")]}
    join = office.outbox.put(ann.join_op("p"))
    await asyncio.sleep(0)
    post = office.outbox.put(ann.post_op(Posting(1), "hi"))
    await asyncio.gather(join, post)
    assert await office.told() == [("joined", "ann"), ("message", "ann", "hi")]


async def test_any_other_failure_reaches_who_put_it_in_and_the_next_goes_on(
    office: Office, ann: Connection
) -> None:
    office.store.fail = {"apply": [RuntimeError("a bug")]}
    with pytest.raises(RuntimeError, match="a bug"):
        await office.outbox.put(ann.join_op("p"))
    assert await office.outbox.put(ann.join_op("p")) is Outcome.DONE


async def test_what_is_wrong_with_one_hub_reaches_those_who_put_something_in_for_it(
    office: Office, ann: Connection
) -> None:
    office.store.damaged = {"cellar"}
    bad = office.outbox.put(make_connection("bob", "cellar").join_op("p"))
    good = office.outbox.put(ann.join_op("p"))
    with pytest.raises(Damaged, match="cellar"):
        await bad
    assert await good is Outcome.DONE
    assert len(office.store.applied) == 1


async def test_the_first_mail_of_a_hub_is_rung_for(office: Office, ann: Connection) -> None:
    await office.outbox.put(ann.join_op("p"))
    await office.outbox.put(ann.post_op(Posting(1), "hi"))
    await office.outbox.idle()
    await office.outbox._bells.idle()
    assert (await office.layer.receive(EVENTS))["hubs"] == ["lobby"]
    assert office.layer.channels == {}


async def test_who_lost_its_id_is_told_of(office: Office, ann: Connection) -> None:
    newer = make_connection("ann")
    await office.outbox.put(ann.join_op("old process"))
    assert office.replaced == []
    await office.outbox.put(newer.join_op("new process"))
    assert office.replaced == [("lobby", Address("old process", ann.id))]


async def test_who_lost_its_id_is_told_of_also_when_the_reply_is_lost(
    office: Office, ann: Connection
) -> None:
    await office.outbox.put(ann.join_op("old process"))
    office.store.lost = {"apply": 1}
    await office.outbox.put(make_connection("ann").join_op("new process"))
    assert office.replaced == [("lobby", Address("old process", ann.id))]


async def test_giving_up_the_future_takes_nothing_back(office: Office, ann: Connection) -> None:
    office.outbox.put(ann.join_op("p")).cancel()
    await office.outbox.idle()
    assert await office.told() == [("joined", "ann")]


async def test_without_a_relay_nobody_is_told(office: Office, ann: Connection) -> None:
    outbox = Outbox(office.store, Bells(Layer(office.layer)))
    await outbox.put(ann.join_op("p"))
    assert await outbox.put(make_connection("ann").join_op("p")) is Outcome.DONE
