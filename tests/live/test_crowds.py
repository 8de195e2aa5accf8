"""Many in one hub, and many hubs of few: all join, are heard, leave, and leave nothing behind."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from tests.live.crowd import PATIENCE, Person, allow_many_files, come
from tests.live.servers import Broker, daphne, eventually, uvicorn
from tests.live.site import Site

pytestmark = [pytest.mark.timeout(600), pytest.mark.heavy]


async def test_a_hub_of_two_thousand_over_two_servers(broker: Broker) -> None:
    allow_many_files(12_000)
    site = Site(broker, **CALM)
    async with site.stack:
        servers = [await site.add_server(daphne), await site.add_server(uvicorn)]
        await site.add_worker()
        crowd = await come((servers[number % 2], "hall", f"p{number}") for number in range(2_000))
        crowd[0].say({"type": "count"})
        assert await crowd[0].hear("count") == [{"type": "count", "count": 2_000}]
        # Of both servers' clients each says something to all.
        for speaker in crowd[:2]:
            speaker.say({"type": "say", "text": f"{speaker.name} speaks"})
        texts = [[m["text"] for m in heard] for heard in await all_hear(crowd, 2)]
        assert all(one == texts[0] for one in texts)
        assert sorted(texts[0]) == ["p0 speaks", "p1 speaks"]
        await all_leave(site, crowd)
        assert all(len(person.heard["said"]) == 2 for person in crowd), "some heard it twice"
        assert site.complaints() == []


async def test_five_thousand_hubs_of_two(broker: Broker) -> None:
    allow_many_files(12_000)
    site = Site(broker, **CALM)
    async with site.stack:
        servers = [await site.add_server(daphne), await site.add_server(uvicorn)]
        for _ in range(2):
            await site.add_worker()
        crowd = await come(
            (servers[number % 2], f"h{number // 2}", f"p{number}") for number in range(10_000)
        )
        for person in crowd:
            person.say({"type": "say", "text": person.name})
        for number, heard in enumerate(await all_hear(crowd, 2)):
            first = number // 2 * 2
            assert sorted(m["text"] for m in heard) == sorted([f"p{first}", f"p{first + 1}"])
        await all_leave(site, crowd)
        assert all(len(person.heard["said"]) == 2 for person in crowd)
        assert site.complaints() == []


# Such a crowd keeps two cores busy for longer than a lease of the other tests.
CALM = {"BEAT": 5.0, "PROCESS_LEASE": 60.0, "HUB_LEASE": 60.0}


async def all_hear(crowd: list[Person], count: int) -> list[list[dict[str, str]]]:
    return await asyncio.gather(*(person.hear("said", count) for person in crowd))


async def all_leave(site: Site, crowd: list[Person]) -> None:
    """They leave, and of the hubs, their groups and their mail nothing is left at the broker."""
    for person in crowd:
        person.leave()
    await eventually(lambda: all(person.closed for person in crowd), timeout=PATIENCE)

    async def empty() -> bool:
        async with redis.asyncio.Redis.from_url(site.broker.url, decode_responses=True) as client:
            left = [key async for key in client.scan_iter("*", count=1000)]
        # What is the processes' own, and would be there without any hub; the layer lets it expire.
        own = ("asgi:hub:{indexes}:processes", "asgi:hub:{indexes}:lives", "asgi:hub:{indexes}:epoch")
        left = [key for key in left if key not in own and not key.startswith("asgihub-relay.")]
        # A hub's log goes by itself, some time after the last that was said.
        left = [key for key in left if not key.endswith((":log", ":history"))]
        assert not left, f"{len(left)} keys are left: {left[:5]}"
        return True

    await eventually(empty, timeout=PATIENCE)
