"""Many hubs in one process: what one costs that is idle, and what it costs the others."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from typing import Any

from benchmarks.gauges import memory
from benchmarks.generator import Measured
from benchmarks.inside.clients import connection, join
from django_hub import hub_broadcast
from django_hub.relay import get_relay

_TEXT = "x" * 100


async def hub_memory(hubs: int, clients: int) -> Measured:
    """The memory of so many clients in so many hubs, and the tasks more than with one client."""
    await join([connection("first", "first")])
    await _quiet()
    tasks, before = len(asyncio.all_tasks()), memory(os.getpid())
    await join(connection(f"h{number % hubs}", f"c{number}") for number in range(clients))
    await _quiet()
    return {"bytes": memory(os.getpid()) - before, "tasks": len(asyncio.all_tasks()) - tasks}


async def broadcast(others: int, members: int, seconds: float) -> Measured:
    """Broadcasts into one hub, one at a time, among so many other hubs with a client each."""
    heard = 0
    all_heard = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:  # noqa: ARG001
        nonlocal heard
        heard += 1
        if not heard % members:
            all_heard.set()

    await join(connection("h", f"m{number}", send) for number in range(members))
    await join(connection(f"h{number}", f"c{number}") for number in range(others))
    await _quiet()
    # What is collected while it is measured is a matter of all objects, not of the broadcast.
    gc.freeze()
    clock, used = time.perf_counter, time.process_time
    began, before, count = clock(), used(), 0
    for warm in (True, False):
        began, before, count = clock(), used(), 0
        while clock() - began < (min(0.5, seconds) if warm else seconds):
            all_heard.clear()
            await hub_broadcast("h", _TEXT)
            await all_heard.wait()
            count += 1
    return {"round_cpu_us": (used() - before) * 1e6 / count}


async def _quiet() -> None:
    """Nothing is under way, what is garbage is gone, and no task ends any more."""
    await get_relay().idle()
    last = -1
    while last != (last := len(asyncio.all_tasks())):  # noqa: ASYNC110 (nobody tells)
        await asyncio.sleep(0.5)
    gc.collect()
