"""What stays in Redis when everybody has left: each key has an owner that goes, or a time to live."""

import asyncio
import time
from dataclasses import replace

import pytest

from django_hub.events import describe, resumed_body, updated_body
from django_hub.stores.hosts import connect
from django_hub.stores.ops import Commit, DeadLetter, Update
from django_hub.stores.redis import RedisStore
from django_hub.stores.visits import Place, Score, Visit
from tests.live.servers import MS, eventually, free_port, valkey
from tests.stores.contract import claim, commit, join, leave, limits_for, post
from tests.stores.contract_logs import say_to
from tests.stores.contract_sessions import lose
from tests.stores.test_redis_machine import LET_TIME_GO_BY

pytestmark = pytest.mark.broker

# What is kept for a while, whoever is there.
FOR_A_WHILE = {"ban", "dead", "history", "log", "lost", "places", "score", "spent", "tail"}
# How the store is told from an emptied one.
FOR_EVER = {"epoch"}


def kind_of(key):
    return key.rpartition("}:")[2].partition(":")[0]


async def handled(store, hub, dead=0):
    """All mail of the hub; of as many of the first letters as ``dead`` says there are dead letters."""
    held = await claim(store, hub)
    while held.batch:
        letters = [
            DeadLetter(hub=hub, position=letter.position, body=letter.body, error="E", at=time.time())
            for letter in held.batch[:dead]
        ]
        dead = 0
        held = await commit(store, held, dead=letters)


async def live_busily(store):
    """All that can be asked of a store, in two hubs and by two processes; then all leave."""
    await store.epoch()
    for process in ("p1", "p2"):
        await store.beat(process)
    await store.create("named", None, 2, 5.0)
    for hub in ("lobby", "named"):
        ann = replace(
            join(hub, connection="s.1"), grace=5.0, resumed=resumed_body(describe("ann", None, {}), 2.0)
        )
        await store.apply([ann, join(hub, "bob", f"bob in {hub}", "p2"), post(1, hub, connection="s.1")])
        await store.apply([post(1, hub, connection="s.1", own=True), replace(lose(), hub=hub)])
        await store.apply([replace(ann, connection="s.2", process="p2", again="s.1")])
        who = describe("ann", "7", {"n": 1})
        await store.apply(
            [Update(hub=hub, client_id="ann", connection="s.2", who=who, body=updated_body(who, 3.0))]
        )
        # The client id is taken from its session.
        await store.apply([join(hub, connection=f"raw in {hub}")])
        await store.apply([post(1, hub, connection=f"raw in {hub}")])
        await store.publish([say_to(hub), say_to(hub, "b", client="ann"), say_to(hub, "c", client="bob")])
        await store.history(hub, 0)
        await store.sent(hub, "ann", 0)
        await store.positions([hub])
        await store.told({hub: 0})
        await store.ban(hub, "user:7", 60.0, "spam")
        await store.tail(hub, None)
        await handled(store, hub, dead=2)
        letters = await store.dead_letters(hub)
        await store.revive(letters[:1])
        await store.claim([hub], "taker", "a bell")
    await store.spend("a ticket", "ann", 60.0)
    visit = Visit((Place("user:7", 3), Place("hubs of 7", 3, "lobby")), (Score("user:7", 3, 60.0),))
    await store.visit("p1", {}, [visit, replace(visit, goes=True, scores=())])
    await store.visit("p2", {}, [visit])
    for hub in ("lobby", "named"):
        held = await claim(store, hub, "taker", ring="a bell")
        await store.apply(
            [leave(hub, connection=f"raw in {hub}"), leave(hub, "bob", f"bob in {hub}", "p2")]
        )
        await store.commit(
            [Commit(hub, held.token, held.batch[-1].position if held.batch else 0, (), True)]
        )
        await handled(store, hub)
    # One that its process leaves behind, in a hub of its own.
    await store.apply(
        [replace(join("cellar", "cat", "t.1", "p2"), grace=5.0), post(1, "cellar", "cat", "t.1")]
    )
    await store.destroy("named")


async def kinds(redis):
    """Of all keys: those that have a time to live, and those that have none."""
    lives = {key: await redis.pttl(key) >= 0 for key in await redis.keys("*")}
    return [{kind_of(key) for key, timed in lives.items() if timed is which} for which in (True, False)]


async def test_what_stays_when_all_have_left_has_its_time(redis):
    store = RedisStore(redis, "test", limits_for(1.0))
    await live_busily(store)
    timed, _ = await kinds(redis)
    assert timed == FOR_A_WHILE
    # The second process dies, and then the first.
    for beating in (True, True, False):
        await redis.eval(LET_TIME_GO_BY, 0, "test", 20)
        if beating:
            await store.beat("p1")
        await store.reap()
        await handled(store, "cellar")
    await store._freed.idle()
    timed, untimed = await kinds(redis)
    assert untimed == FOR_EVER
    assert timed <= FOR_A_WHILE
    await redis.eval(LET_TIME_GO_BY, 0, "test", 4000)
    assert await kinds(redis) == [set(), FOR_EVER]


async def test_no_key_of_a_call_is_in_another_slot():
    """A node of a cluster refuses what names keys of several slots, also where all of them are its own."""
    options = {"appendonly": "no", "cluster-enabled": "yes", "cluster-port": str(free_port())}
    async with valkey(**options) as broker:
        redis = connect({"address": broker.url})
        store = RedisStore(redis, "test", limits_for(100 * MS))
        try:
            await redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)

            async def is_up():
                return "cluster_state:ok" in str(await redis.execute_command("CLUSTER", "INFO"))

            await eventually(is_up)
            await live_busily(store)
            await asyncio.sleep(11 * 100 * MS)
            await store.beat("p1")
            await store.reap()
            await store.unclaimed()
            assert await store.hubs() != []
        finally:
            await store.close()
