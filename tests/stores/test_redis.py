"""The contract on the Redis store, with a real server; and what is its own."""

import asyncio
import dataclasses
import gc
import time
from dataclasses import replace

import pytest
from channels.layers import InMemoryChannelLayer

from django_hub.bells import Bells
from django_hub.exceptions import Damaged, Unavailable
from django_hub.layers.base import Layer
from django_hub.limits import MOST, Limits
from django_hub.service import HubService
from django_hub.stores import redis_members
from django_hub.stores.hosts import connect
from django_hub.stores.ops import Commit, Lease, Number, Outcome
from django_hub.stores.redis import RedisStore
from django_hub.stores.scripts import source
from django_hub.stores.visits import Place, Score, Visit
from tests.live.servers import MS, eventually, free_port, valkey
from tests.stores.contract import (
    StoreContract,
    claim,
    commit,
    join,
    leave,
    letter_of,
    limits_for,
    post,
    read,
    say,
    told,
)
from tests.stores.contract_logs import LogContract, say_to
from tests.stores.contract_marks import MarkContract
from tests.stores.contract_sessions import SessionContract, lose
from tests.stores.contract_surveys import SurveyContract
from tests.stores.contract_visits import VisitContract
from tests.stores.test_redis_machine import LET_TIME_GO_BY

pytestmark = pytest.mark.broker


class TestRedisStore(
    LogContract, MarkContract, SessionContract, SurveyContract, VisitContract, StoreContract
):
    unit = 10.0

    @pytest.fixture
    async def store(self, redis):
        self.redis = redis
        store = RedisStore(redis, "test", limits_for(self.unit))
        yield store
        await store.close()

    async def advance(self, seconds):
        # Nothing is really waited for: on a busy machine that takes longer than a lease.
        await self.redis.eval(LET_TIME_GO_BY, 0, "test", seconds)

    async def let_mail_wait(self):
        # Its age is in its number, which workers have.
        await asyncio.sleep(50 * MS)
        return 50 * MS

    async def put_back(self, store, seconds):
        # Its own clock goes on: so what is written is of so much later.
        for key in await store._redis.keys("*score*"):
            value, at = (await store._redis.get(key)).split()
            later = f"{value} {int(at) + round(seconds * 1_000_000)}"
            await store._redis.set(key, later, keepttl=True)

    def now(self):
        return time.time()


@pytest.fixture
async def store(redis):
    return RedisStore(redis, "test", Limits())


async def test_scripts_that_the_server_forgot_are_loaded_again(redis, store):
    await store.apply([join()])
    await redis.script_flush()
    await store.apply([join(client="bob")])
    assert await store.count("lobby") == 2


async def test_what_was_carried_out_is_not_repeated_for_a_script_that_is_not_there(redis, store):
    # A process of the version before has loaded those scripts that are as they were.
    await redis.script_flush()
    await redis.script_load(source("apply"))
    applied = await store.apply([join()])
    assert applied.wakes == [("lobby", "hub-events")]
    assert [record.name for record in await store.hubs()] == ["lobby"]
    assert await store.waiting() == 1
    assert await redis.smembers("test:{indexes}:process:p1") == {'["lobby", "ann", "\'ann\'-1"]'}


async def test_what_is_much_for_one_hub_goes_as_several_calls(redis, store, monkeypatch):
    monkeypatch.setattr(redis_members, "_AT_ONCE", 2)
    (number,) = await store.publish([say_to()])
    ops = [join(), join(client="bob"), join(client="cat"), join("cellar"), post(1), *map(post, range(1, 4))]
    applied = await store.apply([*ops, leave(client="bob")])
    assert applied.outcomes == [Outcome.DONE] * 9
    assert applied.wakes == [("lobby", "hub-events"), ("cellar", "hub-events")]
    assert applied.logs == {"lobby": number, "cellar": Number("", 0)}
    assert await told(store) == ["+ann", "+bob", "+cat", "ann: 1", "ann: 2", "ann: 3", "-bob close"]


async def test_the_greatest_limits_are_carried_out(redis):
    store = RedisStore(
        redis,
        "test",
        Limits(**{field.name: MOST for field in dataclasses.fields(Limits)}),
    )
    await store.beat("p1")
    (number,) = await store.publish([say_to()])
    assert (await store.create("big", None, MOST, MOST)).history_ttl == MOST
    await store.publish([say_to("big")])
    assert len((await store.history("big", 0)).items) == 1
    assert number == (await store.positions(["lobby"]))["lobby"]
    ops = [replace(join(connection="s.1"), grace=float(MOST)), post(1, connection="s.1"), lose()]
    assert (await store.apply(ops)).outcomes == [Outcome.DONE] * 3
    score = Score("ann", MOST, MOST)
    assert await store.visit("p1", {}, [Visit((Place("ann", MOST),), (score,))]) == [None]
    held = await claim(store)
    assert read(held) == ["+ann", "ann: 1", "~ann read"]
    assert await store.renew([("lobby", held.token)]) == [True]
    dead = letter_of(held.batch[0].position, time.time())
    assert (await commit(store, held, dead=[dead])).lease is not Lease.DAMAGED
    assert await store.dead_letters("lobby") == [dead]
    assert await store.reap() == []
    assert await store.unclaimed() == []
    await store.close()


async def test_an_emptied_server_begins_another_epoch(redis, store):
    epoch = await store.epoch()
    await redis.flushall()
    assert await store.epoch() != epoch


async def test_a_full_server_is_told_of_and_still_drains(redis, store):
    await store.apply([join()])
    (held,) = await store.claim(["lobby"], "w1")
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable, match="maxmemory"):
            await store.apply([join(client="bob")])
        (freed,) = await store.commit([Commit("lobby", held.token, held.batch[-1].position)])
        assert freed.lease is Lease.FREE
    finally:
        await redis.config_set("maxmemory", 0)
    await store.apply([join(client="bob")])
    assert await store.count("lobby") == 2


async def test_a_full_server_lets_nobody_die_and_its_mail_be_handled(redis):
    store = RedisStore(redis, "test", limits_for(10.0))
    life, epoch = await store.beat("p1"), await store.epoch()
    await store.apply([join(), *map(post, range(1, 5))])
    numbers = await store.publish([say_to(), say_to(item="b")])
    await redis.eval(LET_TIME_GO_BY, 0, "test", 60)
    await redis.config_set("maxmemory", 1)
    try:
        assert await store.beat("p1") == life
        assert await store.epoch() == epoch
        assert await store.positions(["lobby"]) == {"lobby": numbers[-1]}
        assert (await store.history("lobby", 0)).seq == 2
        assert await store.unclaimed() == [("lobby", "hub-events")]
        held = await claim(store)
        assert read(held) == ["+ann", "ann: 1", "ann: 2"]
        assert await store.renew([("lobby", held.token)]) == [True]
        rest = await commit(store, held)
        # A reply that was lost: this one drops nothing.
        assert await commit(store, held) == rest
        assert (await commit(store, rest)).lease is Lease.FREE
    finally:
        await redis.config_set("maxmemory", 0)
    assert read(rest) == ["ann: 3", "ann: 4"]


async def test_a_replica_is_told_of(redis, store):
    await redis.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(Unavailable, match="replica"):
            await store.apply([join()])
    finally:
        await redis.replicaof("NO", "ONE")


async def test_a_replica_that_has_lost_its_primary_is_told_of(redis, store):
    await redis.config_set("replica-serve-stale-data", "no")
    await redis.replicaof("127.0.0.1", 1)
    try:
        with pytest.raises(Unavailable, match="can't do that now"):
            await store.count("lobby")
    finally:
        await redis.replicaof("NO", "ONE")
        await redis.config_set("replica-serve-stale-data", "yes")


async def test_a_cluster_that_is_down_is_told_of():
    options = {"appendonly": "no", "cluster-enabled": "yes", "cluster-port": str(free_port())}
    async with valkey(**options) as broker:
        store = RedisStore(connect({"address": broker.url}), "test", Limits())
        with pytest.raises(Unavailable, match="can't do that now"):
            await store.count("lobby")
        await store.close()


async def test_one_that_loads_its_data_is_told_of_and_waited_for():
    broker = valkey(appendonly="no")
    await broker.start()
    client = connect({"address": broker.url})
    await client.mset({f"key {number}": "x" * 100 for number in range(500)})
    await client.save()
    await broker.stop()
    # Each key takes it 4 ms, and in between it answers.
    broker.options |= {"key-load-delay": "4000", "loading-process-events-interval-bytes": "1024"}
    broker.is_ready = lambda: "Server initialized" in broker.log()
    store = RedisStore(client, "test", Limits())
    try:
        await broker.start()
        with pytest.raises(Unavailable, match="loading its data"):
            await until_it_loads(store)

        async def is_there():
            try:
                await store.apply([join()])
            except Unavailable:
                return False
            return True

        await eventually(is_there, timeout=20_000 * MS)
        assert await store.count("lobby") == 1
    finally:
        await store.close()
        await broker.stop()


async def until_it_loads(store):
    """Ask until it answers at all."""
    while True:
        try:
            await store.count("lobby")
        except Unavailable as error:
            if "there is no connection" not in str(error):
                raise
        else:
            return


async def test_a_mailbox_entry_that_is_no_event_is_a_dead_letter(redis, store):
    await store.apply([join()])
    await redis.rpush(store._key("lobby", "mail"), f"{time.time_ns() // 1000 + 10**9} no event")
    handled = []

    async def handle(event):
        handled.append(event)

    service = HubService(handle, store, Bells(Layer(InMemoryChannelLayer())), 10)
    service.wake(["lobby"])

    async def is_dead():
        return await store.dead_letters("lobby")

    (letter,) = await eventually(is_dead)
    assert letter.body == "no event"
    await store.apply([post(1)])
    service.wake(["lobby"])
    await eventually(lambda: [say(event) for event in handled] == ["+ann", "ann: 1"])
    await service.close(1.0)


async def test_a_wrong_password_is_told_of():
    async with valkey(requirepass="right", appendonly="no") as locked:
        client = connect({"address": locked.url.replace("right", "wrong")})
        store = RedisStore(client, "test", Limits())
        with pytest.raises(Unavailable, match="refuses the user name or password"):
            await store.count("lobby")
        await store.close()


async def test_an_eviction_policy_that_loses_events_is_remarked(redis, store):
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        (remark,) = await store.remarks()
    finally:
        await redis.config_set("maxmemory-policy", "noeviction")
    assert "noeviction" in remark
    assert await store.remarks() == []


async def spoil(redis, store, part):
    """Something else writes to a key of the lobby."""
    await redis.delete(store._key("lobby", part))
    await redis.set(store._key("lobby", part), "junk")


@pytest.mark.parametrize("part", ["hub", "members", "mail"])
async def test_a_damaged_hub_is_told_of_and_the_others_go_on(redis, store, caplog, part):
    await store.apply([join(), join("cellar", connection="c")])
    await spoil(redis, store, part)
    applied = await store.apply(
        [join(client="bob"), post(1, "cellar", connection="c"), leave(client="cat")]
    )
    assert applied.outcomes[1] is Outcome.DONE
    assert isinstance(applied.outcomes[0], Damaged)
    assert "delete such keys" in str(applied.outcomes[0])
    held, free = await store.claim(["cellar", "lobby"], "w1")
    assert read(held) == ["+ann", "ann: 1"]
    if part != "members":
        assert (free.lease, type(free.error)) == (Lease.DAMAGED, Damaged)
    commits = [Commit(hub, held.token, held.batch[-1].position) for hub in ("lobby", "cellar")]
    assert [claim.lease for claim in await store.commit(commits)][1] is Lease.FREE
    assert await store.renew([("lobby", "x"), ("cellar", "y")]) == [False, False]


@pytest.mark.parametrize("part", ["hub", "members", "ids", "posted", "mail", "sent", "told", "log"])
async def test_a_damaged_hub_is_changed_by_halves_by_nothing(redis, store, part):
    await store.apply([join()])
    await redis.delete(store._key("lobby", part))
    await redis.set(store._key("lobby", part), "junk")
    before = await contents(redis, "{hub.lobby}")
    assert isinstance((await store.apply([join(client="bob")])).outcomes[0], Damaged)
    assert isinstance((await store.apply([leave()])).outcomes[0], Damaged)
    assert await contents(redis, "{hub.lobby}") == before


async def test_a_damaged_hub_is_not_half_destroyed(redis, store):
    await store.create("lobby", None)
    await spoil(redis, store, "members")
    with pytest.raises(Damaged):
        await store.destroy("lobby")
    assert (await store.hub("lobby")).named


async def test_to_look_at_what_is_not_ours_gives_it_no_end(redis, store):
    await spoil(redis, store, "tail")
    with pytest.raises(Damaged):
        await store.tail("lobby", None)
    assert await redis.ttl(store._key("lobby", "tail")) == -1


@pytest.mark.parametrize("index", ["lives", "graves"])
async def test_a_damaged_index_costs_no_dead_process_its_grave(redis, index):
    store = RedisStore(redis, "test", limits_for(10.0))
    await store.apply([join()])
    await redis.eval(LET_TIME_GO_BY, 0, "test", 110)
    await redis.set(store._index(index), "junk")
    with pytest.raises(Damaged):
        await store.reap()
    # Mended, its members are lost as all others.
    await redis.delete(store._index(index))
    await store.reap()
    assert await told(store) == ["+ann", "-ann lost"]


async def test_a_claim_of_a_damaged_hub_takes_nothing(redis, store):
    await store.apply([join()])
    members = await redis.hgetall(store._key("lobby", "members"))
    await spoil(redis, store, "members")
    for number in range(5):
        (refused,) = await store.claim(["lobby"], f"w{number}")
        assert refused.lease is Lease.DAMAGED
    await redis.delete(store._key("lobby", "members"))
    await redis.hset(store._key("lobby", "members"), mapping=members)
    assert (await claim(store, worker="another")).tries == 1


@pytest.mark.parametrize("part", ["dead", "tail"])
async def test_a_commit_that_can_not_keep_what_it_must_drops_nothing(redis, store, part):
    await store.apply([join()])
    held = await claim(store)
    await redis.set(store._key("lobby", part), "junk")
    dead = letter_of(held.batch[0].position, time.time())
    assert (await commit(store, held, dead=[dead])).lease is Lease.DAMAGED
    await redis.delete(store._key("lobby", part))
    assert (await store.survey(["lobby"]))[0].mail == 1
    assert (await commit(store, held, dead=[dead])).lease is Lease.FREE
    assert await store.dead_letters("lobby") == [dead]


async def contents(redis, tag):
    """All keys of a hub, with what is in them."""
    return {key: await redis.dump(key) for key in sorted(await redis.keys(f"*{tag}*"))}


@pytest.mark.parametrize("part", ["hub", "members", "mail"])
async def test_a_damaged_hub_keeps_nobody_from_being_looked_after(redis, caplog, part):
    store = RedisStore(redis, "test", limits_for(30 * MS))
    await store.apply([join(), join("cellar", connection="c")])
    await spoil(redis, store, part)
    await asyncio.sleep(11 * 30 * MS)
    await store.reap()
    await store.reap()
    await asyncio.sleep(6 * 30 * MS)
    assert ("cellar", "hub-events") in await store.unclaimed()
    assert await told(store, "cellar") == ["+ann", "-ann lost"]
    assert "lobby is left alone. Redis: what is under a key of ours is not ours." in caplog.text
    assert [hub.name for hub in await store.hubs()] == ["lobby"] * (part != "hub")
    # Mended, its members are lost as all others.
    await redis.delete(store._key("lobby", part))
    await store.reap()
    assert await store.count("lobby") == 0
    if part == "mail":
        assert await told(store) == ["-ann lost"]


async def test_a_damaged_hub_keeps_nobody_from_knowing_what_waits(redis, store, caplog):
    await store.apply([join(), join("cellar", connection="c")])
    await spoil(redis, store, "mail")
    assert await store.waiting_in(["lobby", "cellar"]) == {"lobby": 0, "cellar": 1}
    assert "lobby is left alone. Redis: what is under a key of ours is not ours." in caplog.text


@pytest.mark.parametrize("part", ["hub", "members", "mail", "dead"])
async def test_who_looks_is_told_of_a_damaged_hub_and_sees_the_others(redis, store, part):
    await store.apply([join(), join("cellar", connection="c")])
    await spoil(redis, store, part)
    damaged, whole = await store.survey(["lobby", "cellar"])
    assert "delete such keys" in damaged.error
    assert (whole.members, whole.error) == (1, "")
    assert [state.error == "" for state in await store.survey_page()] == [True, False]
    assert (await store.tail("lobby", None)).items == ()


async def test_indexes_that_can_not_be_tidied_are_told_of_once(redis, store, caplog):
    await store.apply([join(), join("cellar", connection="c")])
    held = await store.claim(["lobby", "cellar"], "w1")
    await redis.set(store._mail_key, "junk")
    await store.commit([Commit(claim.hub, claim.token, claim.batch[-1].position) for claim in held])
    await store._freed.idle()
    assert caplog.text.count("2 hubs were not taken out of the indexes") == 1
    assert "delete such keys" in caplog.text
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_who_asks_for_a_damaged_hub_is_told(redis, store):
    await spoil(redis, store, "hub")
    with pytest.raises(Damaged, match="not ours"):
        await store.create("lobby", None)


async def test_one_whose_leave_was_refused_is_still_found_when_its_process_dies(redis):
    store = RedisStore(redis, "test", limits_for(30 * MS))
    await store.apply([join(), join(client="bob")])
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable, match="maxmemory"):
            await store.apply([join(client="cat"), leave()])
    finally:
        await redis.config_set("maxmemory", 0)
    await asyncio.sleep(11 * 30 * MS)
    await store.reap()
    assert await store.members("lobby") == []


async def test_two_prefixes_share_a_server(redis, store):
    other = RedisStore(redis, "other", Limits())
    await store.apply([join()])
    assert await other.count("lobby") == 0
    assert await other.hubs() == []
