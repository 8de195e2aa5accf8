"""A handler that takes its time: it holds its own hub, and nothing else."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.live.chat import RoomClient
from tests.live.site import PATIENCE, UNIT, Start

pytestmark = pytest.mark.timeout(120)


@pytest.mark.heavy
@pytest.mark.parametrize("how", ["wait", "block"])
async def test_a_handler_that_takes_several_leases_holds_only_its_own_hub(start: Start, how: str) -> None:
    site = await start(HUB_LEASE=0.75 * UNIT)
    async with site.stack:
        slow = [await site.enter(site.servers[n], "slow", f"s{n}", RoomClient) for n in range(2)]
        quick = [await site.enter(site.servers[n % 2], f"quick{n}", "q", RoomClient) for n in range(6)]
        await slow[0].send({"type": how, "seconds": 3 * UNIT, "text": "done"})
        holder = (await slow[0].until(type="begun"))["worker"]
        # What comes after it, of the same client and of another one, waits and keeps its order.
        for number in range(20):
            await slow[0].send({"type": "say", "text": f"s0 {number}"})
            await slow[1].send({"type": "say", "text": f"s1 {number}"})
        waiting = asyncio.create_task(slow[1].until(type="said"))
        # Meanwhile both workers serve the others, the holder too.
        workers = set()
        for number in itertools.count():
            client = quick[number % len(quick)]
            async with asyncio.timeout(2 * UNIT):
                await client.send({"type": "say", "text": str(number)})
                workers.add((await client.until(type="said", text=str(number)))["worker"])
            if waiting.done():
                break
        assert number > 100, "the other hubs were slow"
        assert holder in workers, "the worker served one hub only"
        async with asyncio.timeout(PATIENCE):
            assert waiting.result() == {
                "type": "said",
                "client": "s0",
                "text": "done",
                "worker": holder,
            }, "another worker took the hub, or what came later overtook it"
            heard = [await slow[1].until(type="said") for _ in range(40)]
        for name in ("s0", "s1"):
            assert [m["text"] for m in heard if m["client"] == name] == [f"{name} {n}" for n in range(20)]
        await slow[1].send({"type": "say", "text": "and nothing twice"})
        assert (await slow[1].until(type="said"))["text"] == "and nothing twice"
        assert site.remarks("taken over", "not renewed") == []
        assert site.complaints() == []
