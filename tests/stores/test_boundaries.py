"""A site's day on a real server, once for each round trip it takes and each way in which that can be lost.

Whatever is lost, the caller asks again, as the contract wants it; and then all is as if nothing had been.
"""

import asyncio

import pytest

from django_hub.events import read_body
from django_hub.stores.ops import Commit, Lease
from django_hub.stores.redis import RedisStore
from tests.stores.contract import join, leave, limits_for, post, say
from tests.stores.faults import BadLine, Insistent, Loss
from tests.stores.test_redis_machine import LET_TIME_GO_BY

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

LIMITS = limits_for(1000.0)


class Day:
    """Two processes and two workers on one store; `seen` is what anybody can know of it afterwards."""

    def __init__(self, redis, prefix):
        self.redis = redis
        self.prefix = prefix
        self.line = BadLine(redis)
        self.store = Insistent(RedisStore(self.line, prefix, LIMITS), self.line)
        self.replaced = []
        self.events = {"lobby": [], "cellar": [], "attic": []}
        self.leases = []
        self.seen = {"replaced": self.replaced, "events": self.events, "leases": self.leases}

    async def apply(self, *ops):
        applied = await self.store.apply(ops)
        self.replaced += [(hub, address.connection) for hub, address in applied.replaced]
        return [outcome.name for outcome in applied.outcomes]

    async def handle(self, *hubs, worker="w1", ring=""):
        """All mail of these hubs, as a worker does it, and the leases after."""
        claims = await self.store.claim(hubs, worker, ring)
        while held := [claim for claim in claims if claim.lease is Lease.HELD and claim.batch]:
            for claim in held:
                self.events[claim.hub] += [
                    say(read_body(claim.hub, letter.position, letter.body)) for letter in claim.batch
                ]
            assert all(await self.store.renew([(claim.hub, claim.token) for claim in held]))
            claims = await self.store.commit(
                [Commit(claim.hub, claim.token, claim.batch[-1].position) for claim in held]
            )
        return {claim.hub: claim.token for claim in claims}

    async def advance(self, units):
        await self.redis.eval(LET_TIME_GO_BY, 0, self.prefix, units * 1000)

    async def leased(self, *hubs):
        """Whose hubs another worker could not take now."""
        keys = [self.store.store._key(hub, "hub") for hub in hubs]
        self.leases.append([await self.redis.hget(key, "worker") for key in keys])

    async def pass_by(self):
        store = self.store
        lives = [await store.beat("p1"), await store.beat("p2")]
        await store.create("attic", "chat-events")
        await self.apply(
            join(process="p1"),
            post(1),
            join("cellar", client="bob", process="p1"),
            post(1, "cellar", "bob"),
        )
        await self.apply(
            join("attic", client="cat", process="p2"), join(client="dan", process="p2"), post(2)
        )
        (taken,) = (await self.handle("attic", worker="w2", ring="my-bell")).values()
        await self.handle("lobby", "cellar")
        await self.leased("lobby", "cellar", "attic")
        # Ann is back through the other process, and the old socket is to be closed.
        await self.apply(
            join(connection="ann-2", process="p2"), post(1, connection="ann-2"), leave(client="x")
        )
        await self.apply(leave("cellar", client="bob"), post(2, connection="ann-2"))
        await self.handle("cellar", "lobby")
        assert await store.hub("cellar") is None
        # The second process is silent too long, though its messages were taken; the first one reaps.
        await self.apply(post(3, connection="ann-2"))
        await self.advance(6)
        assert await store.beat("p1") == lives[0]
        await self.advance(6)
        await store.reap()
        await self.advance(6)
        await store.unclaimed()
        await self.handle("lobby", "attic")
        assert await store.beat("p2") != lives[1]
        await self.apply(
            join(connection="ann-3", again="ann-2", posted=2, process="p2"), post(3, connection="ann-3")
        )
        await self.apply(post(4, connection="ann-3"))
        assert [member.connection for member in await store.members("lobby")] == ["ann-3"]
        await self.leased("lobby", "cellar", "attic")
        await self.apply(leave(connection="ann-3", process="p2"))
        await store.commit([Commit("attic", taken, 0, release=True)])
        await self.handle("lobby", "attic")
        await store.destroy("attic")
        # Nobody is left; what processes and lost connections leave behind goes with time.
        await self.advance(11)
        await store.reap()
        await self.advance(100)
        await store.unclaimed()
        # The dead are lost in any order.
        self.events["lobby"][9:11] = sorted(self.events["lobby"][9:11])
        # What was freed leaves the indexes a little later, and where that failed, when they are read.
        await self.store.store._freed.idle()
        assert await store.hubs() == []
        assert await store.waiting() == 0
        self.seen["keys"] = await self.redis.keys(f"{self.prefix}:*")
        return self.seen


@pytest.mark.heavy
async def test_whatever_round_trip_is_lost_the_day_is_the_same(redis):
    await redis.script_flush()
    quiet = Day(redis, "quiet")
    expected = await quiet.pass_by()
    assert expected == {
        "replaced": [("lobby", "'ann'-1")],
        "events": {
            "lobby": [
                *("+ann", "ann: 1", "+dan", "ann: 2", "-ann replaced", "+ann", "ann: 1", "ann: 2"),
                *("ann: 3", "-ann lost", "-dan lost", "+ann", "ann: 4", "-ann close"),
            ],
            "cellar": ["+bob", "bob: 1", "-bob close"],
            "attic": ["+cat", "-cat lost"],
        },
        "leases": [[None, None, "w2"], [None, None, None]],
        "keys": [],
    }

    async def another(trip, loss):
        day = Day(redis, f"{loss.value}{trip}")
        day.line.lose(loss, trip)
        assert await day.pass_by() == expected, f"the {loss.value} of round trip {trip} was lost"
        assert day.line.losses == {}

    for trip in range(1, quiet.line.trips + 1):
        # The middle of one command alone is its call.
        await asyncio.gather(another(trip, Loss.MIDDLE), another(trip, Loss.REPLY))
