"""What it takes to look at a site: a picture of the admin's page, and ``manage.py hubs list``."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio

from benchmarks.generator import Measured
from benchmarks.inside.clients import connection, join
from django_hub.layers.choice import get_layer
from django_hub.names import UNHEARD
from django_hub.questions import Questions
from django_hub.relay import get_relay
from django_hub.sights import Sight, Viewer
from django_hub.stores.registry import get_store

# A page looks once a second; here the next look comes when the loop had a rest.
_REST = 0.05
_LOOKS = 20
# Commands that are faster are not told apart, in microseconds.
_FAST = 100
_SIGHTS = {
    "busiest": Sight(),
    "named": Sight(by_name=True, after="h05"),
    "searched": Sight(search="h09"),
}


async def _stalls(found: list[float]) -> None:
    """How long nothing else could run, in seconds."""
    clock, every = time.perf_counter, 0.001
    while True:
        before = clock()
        await asyncio.sleep(every)
        found.append(clock() - before - every)


@asynccontextmanager
async def _broker(found: Measured, looks: int) -> AsyncIterator[None]:
    """What it has to do for the looks inside, and its longest command."""
    if not (url := os.environ.get("REDIS_URL")):
        yield
        found |= {"broker_us": 0.0, "longest_us": 0.0}
        return
    async with redis.asyncio.Redis.from_url(url) as broker:
        await broker.config_set("slowlog-log-slower-than", _FAST)
        await broker.config_set("slowlog-max-len", 100_000)
        await broker.slowlog_reset()
        before = await broker.info("cpu")
        yield
        after = await broker.info("cpu")
        slow = await broker.slowlog_get(100_000)
    used = sum(after[name] - before[name] for name in ("used_cpu_user", "used_cpu_sys"))
    found["broker_us"] = used * 1e6 / looks
    found["longest_us"] = max((each["duration"] for each in slow), default=_FAST)


async def _site(hubs: int, mail: bool) -> None:
    """So many hubs with a client each, whose joining waits to be handled, or not."""
    events = "hub-fan" if mail else UNHEARD
    await join(connection(f"h{number:06}", f"c{number}", events=events) for number in range(hubs))
    await get_relay().idle()


async def looks(hubs: int, mail: bool) -> Measured:
    await _site(hubs, mail)
    clock = time.perf_counter
    found: dict[str, Any] = {}
    stalls: list[float] = []
    async with Questions(get_layer()) as questions:
        viewer = Viewer(get_store(), questions)
        watching = asyncio.create_task(_stalls(stalls))
        began = clock()
        # Scripts are loaded, the largest hubs are looked for.
        picture = await viewer.see(Sight())
        found["first_ms"] = (clock() - began) * 1e3
        if picture["totals"]["hubs"] != hubs:
            raise RuntimeError(f"{picture['totals']} of {hubs} hubs are seen")
        async with _broker(found, _LOOKS * len(_SIGHTS)):
            for name, sight in _SIGHTS.items():
                took = []
                for _ in range(_LOOKS):
                    await asyncio.sleep(_REST)
                    began = clock()
                    await viewer.see(sight)
                    took.append(clock() - began)
                found[f"{name}_ms"] = statistics.median(took) * 1e3
        watching.cancel()
        await asyncio.wait([watching])
    found["stall_ms"] = max(stalls) * 1e3
    return found


async def listing(hubs: int) -> Measured:
    """All of them, by the command in a process of its own."""
    await _site(hubs, mail=False)
    found: dict[str, Any] = {}
    async with _broker(found, 1):
        began = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "django", "hubs", "list", "--most", "0", "--json"),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        found["seconds"] = time.perf_counter() - began
    if out.count(b"\n") != hubs:
        raise RuntimeError(f"{out.count(bytes([10]))} of {hubs} hubs are listed")
    return found
