"""Leaving: at once, or when the grace is over; `tests/test_clients.py` has it among the clients."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from django_hub.bells import Bells
from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.layers.base import Layer
from django_hub.leaving import Leaving
from django_hub.outbox import Outbox
from tests.apps import FaultyLayer, FaultyStore, mail, make_connection
from tests.apps import world as world
from tests.sockets import turns, until

BROKEN = Departure(reason="read", code=1006)


class Exit:
    """A process whose connections leave, and what its owner is told."""

    def __init__(self) -> None:
        self.store = FaultyStore()
        self.outbox = Outbox(self.store, Bells(Layer(FaultyLayer())))
        self.gone: list[Connection] = []
        self.done = 0
        self.leaving = Leaving(self.outbox, self.gone.append, self._done)

    def _done(self) -> None:
        self.done += 1

    async def member(self, client_id: str = "ann", grace: float = 60.0) -> Connection:
        connection = make_connection(client_id)
        connection.grace = grace
        connection.joined = self.outbox.put(connection.join_op("process"))
        await connection.joined
        await self.store.mail("lobby")
        return connection

    def begin(self, connection: Connection, departure: Departure = BROKEN) -> asyncio.Task[None]:
        return self.leaving.begin(connection, departure, ["not written"])

    async def state(self, client_id: str = "ann") -> str | None:
        member = await self.store.member("lobby", client_id)
        return member.state if member else None


@pytest.fixture
async def exit_() -> AsyncIterator[Exit]:
    exit_ = Exit()
    yield exit_
    await exit_.outbox.idle()


async def test_without_grace_it_is_gone_at_once_and_done_when_the_store_knows(exit_: Exit) -> None:
    ann = await exit_.member(grace=0.0)
    left = exit_.begin(ann)
    assert (exit_.gone, exit_.done) == ([ann], 0)
    await left
    assert (exit_.done, await exit_.state()) == (1, None)
    assert await mail(exit_.store) == [("left", "ann", "read")]


async def test_who_is_not_back_when_its_grace_is_over_leaves_as_it_was_lost(exit_: Exit) -> None:
    ann = await exit_.member(grace=0.02)
    await exit_.begin(ann)
    assert (len(exit_.leaving), exit_.gone, exit_.done) == (1, [], 0)
    assert await exit_.state() == "lost"
    await exit_.store.mail("lobby")
    await until(lambda: exit_.done)
    assert (len(exit_.leaving), exit_.gone, exit_.done) == (0, [ann], 1)
    assert await mail(exit_.store) == [("left", "ann", "read")]


async def test_who_is_given_up_leaves_as_that_says_before_or_while_it_is_lost(exit_: Exit) -> None:
    kicked = Departure(reason="kicked", code=4403)
    ann, bob = await exit_.member(), await exit_.member("bob")
    await exit_.begin(ann)
    exit_.store.line = asyncio.Event()
    losing = exit_.begin(bob)
    await turns()
    for each in (ann, bob):
        exit_.leaving.give_up(each, kicked)
    exit_.store.line.set()
    await losing
    await until(lambda: exit_.done == 2)
    assert exit_.gone == [ann, bob]
    assert (await exit_.state("ann"), await exit_.state("bob"), len(exit_.leaving)) == (None, None, 0)
    exit_.leaving.give_up(ann, kicked)  # it is gone
    assert exit_.done == 2


async def test_who_is_let_be_stays_as_the_store_has_it(exit_: Exit) -> None:
    ann = await exit_.member()
    await exit_.begin(ann)
    assert exit_.leaving.let_be(ann.id)
    assert not exit_.leaving.let_be(ann.id)
    assert (len(exit_.leaving), exit_.gone, exit_.done) == (0, [ann], 1)
    assert await exit_.state() == "lost"


async def test_where_the_server_ends_nobody_is_waited_for_until_somebody_comes(exit_: Exit) -> None:
    ann, bob, cat = [await exit_.member(name) for name in ("ann", "bob", "cat")]
    await exit_.begin(ann)
    losing = exit_.begin(bob)
    exit_.leaving.let_all_be()
    await losing
    assert (exit_.gone, exit_.done, len(exit_.leaving)) == ([ann, bob], 2, 0)
    assert [await exit_.state(name) for name in ("ann", "bob")] == ["lost", "lost"]
    exit_.leaving.go_on()
    await exit_.begin(cat)
    assert len(exit_.leaving) == 1
    exit_.leaving.let_all_be()


async def test_a_bug_of_the_store_leaves_nothing_undone(exit_: Exit) -> None:
    ann, bob = await exit_.member(), await exit_.member("bob", grace=0.0)
    exit_.store.fail["apply"] = [KeyError("bug")]
    with pytest.raises(KeyError):
        await exit_.begin(ann)
    exit_.store.fail["apply"] = [KeyError("bug")]
    with pytest.raises(KeyError):
        await exit_.begin(bob)
    assert (exit_.gone, exit_.done, len(exit_.leaving)) == ([ann, bob], 2, 0)
    exit_.leaving.give_up(ann, BROKEN)
    assert exit_.done == 2
