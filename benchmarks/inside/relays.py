"""Many relays on one broker: what a broadcast costs it, and how much of it goes over its network."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import redis.asyncio

from benchmarks.generator import Measured
from benchmarks.inside.clients import connection
from django_hub.conf import get_settings
from django_hub.departures import Departure
from django_hub.entries import Entry
from django_hub.layers.choice import get_layer
from django_hub.relay import Relay
from django_hub.stores.registry import get_store

_TEXT = "x" * 100


async def relays(count: int, burst: int, seconds: float) -> Measured:
    """Broadcasts into one hub with a client at each of so many relays, ``burst`` at a time.

    The relays are real, and so is the broker; they are of one process, where a site has a process each.
    """
    heard = 0
    all_heard = asyncio.Event()
    wanted = count * burst

    async def send(message: dict[str, Any]) -> None:  # noqa: ARG001
        nonlocal heard
        heard += 1
        if not heard % wanted:
            all_heard.set()

    every = [Relay(get_layer(), get_store(), get_settings()) for _ in range(count)]
    members = [connection("h", f"m{number}", send) for number in range(count)]
    await asyncio.gather(*(r.clients.join(member) for r, member in zip(every, members, strict=True)))
    sender = every[0].sender
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]) as broker:
        before, began, rounds = await broker.info("all"), time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            all_heard.clear()
            await asyncio.gather(*(sender.broadcast(Entry("h", _TEXT)) for _ in range(burst)))
            await all_heard.wait()
            rounds += 1
        after = await broker.info("all")
    for relay, member in zip(every, members, strict=True):
        await relay.clients.leave(member, Departure(reason="close"))
        await relay.close()

    def grown(*names: str) -> float:
        return sum(float(after[name]) - float(before[name]) for name in names) / (rounds * burst)

    return {
        "broker_us": grown("used_cpu_user", "used_cpu_sys") * 1e6,
        "calls": grown("total_commands_processed"),
        "bytes_in": grown("total_net_input_bytes"),
        "bytes_out": grown("total_net_output_bytes"),
    }
