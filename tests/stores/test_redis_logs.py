"""The Redis store's logs: round trips, keys, and what is not ours."""

import pytest

from django_hub.exceptions import Damaged
from django_hub.limits import Limits
from django_hub.stores.redis import RedisStore
from tests.stores.contract import join
from tests.stores.contract_logs import say_to
from tests.stores.faults import BadLine

pytestmark = pytest.mark.broker


async def test_many_publications_of_several_hubs_are_one_round_trip_and_a_script_a_hub(redis):
    line = BadLine(redis)
    store = RedisStore(line, "test", Limits())
    await store.publish([say_to("a"), say_to("b")])
    await redis.config_resetstat()
    before = line.trips
    await store.publish([say_to(hub, str(number)) for number in range(50) for hub in ("a", "b")])
    assert line.trips == before + 1
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == 2


async def test_all_keys_of_a_log_end_by_themselves(redis):
    store = RedisStore(redis, "test", Limits())
    await store.publish([say_to()])
    keys = sorted(await redis.keys("*"))
    assert keys == ["test:{hub.lobby}:history", "test:{hub.lobby}:log"]
    for key in keys:
        assert 0 < await redis.ttl(key) <= 300


@pytest.mark.parametrize("part", ["log", "history"])
async def test_a_damaged_log_harms_no_other(redis, part, caplog):
    store = RedisStore(redis, "test", Limits())
    await redis.set(f"test:{{hub.bad}}:{part}", "not ours")
    one, bad, two = await store.publish([say_to("good"), say_to("bad"), say_to("good")])
    assert (one.seq, two.seq) == (1, 2)
    assert isinstance(bad, Damaged)
    assert list(await store.positions(["bad", "good"])) == ["good"]
    assert ("left alone" in caplog.text) == (part == "log")


async def test_a_damaged_log_is_told_to_who_asks_for_it(redis):
    store = RedisStore(redis, "test", Limits())
    await store.apply([join()])
    await redis.set("test:{hub.lobby}:log", "not ours")
    with pytest.raises(Damaged):
        await store.history("lobby", 0)
    with pytest.raises(Damaged):
        await store.sent("lobby", "ann", 0)
