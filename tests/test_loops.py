"""What belongs to a loop goes with it, also where it leads back to that."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
import redis

from django_hub.api import hub_broadcast
from django_hub.health import _probes, health
from django_hub.loops import PerLoop
from django_hub.relay import relays
from tests.live.servers import Broker


class Thing:
    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None


def test_each_loop_has_its_own_for_as_long_as_it_runs() -> None:
    kept: PerLoop[Thing] = PerLoop()

    async def ask() -> Thing:
        thing = kept.get(Thing)
        assert kept.get(Thing) is thing
        assert kept.all() == [thing]
        return thing

    assert asyncio.run(ask()) is not asyncio.run(ask())
    gc.collect()
    assert kept.all() == []


def test_what_leads_back_to_its_loop_goes_when_another_one_comes() -> None:
    kept: PerLoop[Thing] = PerLoop()
    made: list[weakref.ref[Thing]] = []

    async def ask() -> None:
        thing = kept.get(Thing)
        thing.loop = asyncio.get_running_loop()
        made.append(weakref.ref(thing))

    for _ in range(3):
        asyncio.run(ask())
    gc.collect()
    assert [thing() is not None for thing in made] == [False, False, True]
    kept.clear()
    gc.collect()
    assert [thing() for thing in made] == [None] * 3


def test_nothing_stays_of_a_call_in_a_loop_of_its_own(settings: Any) -> None:
    """As async views under WSGI have one for each request."""
    settings.DJANGO_HUB = {}
    # The loop of another test may still be held, with what belongs to it.
    before = {*map(id, relays()), *map(id, _probes.all())}
    asyncio.run(hub_broadcast("lobby", "hello"))
    asyncio.run(health())
    gc.collect()
    assert [each for each in (*relays(), *_probes.all()) if id(each) not in before] == []


@pytest.mark.broker
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_connections_to_the_broker_do_not_pile_up(server: Broker, settings: Any) -> None:
    config = {"hosts": [{"address": server.url, "socket_timeout": 15}]}
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}
    }
    with redis.Redis.from_url(server.url) as looking:
        alone = len(looking.client_list())
        counts = []
        for _ in range(4):
            asyncio.run(hub_broadcast("lobby", "hello"))
            gc.collect()
            counts.append(len(looking.client_list()) - alone)
        assert counts == [counts[0]] * 4
    assert len(relays()) == 1
    # With them go the last one's connections: here, where nobody minds.
    settings.DJANGO_HUB = {}
    gc.collect()
