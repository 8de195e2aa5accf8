"""One process's clock is ten seconds ahead, five times a lease: nobody else is to notice."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.live.chat import RoomClient
from tests.live.servers import Broker, daphne, uvicorn
from tests.live.site import CLOCK_AHEAD, LEASES, UNIT, Site, assert_in_order, said, talk

pytestmark = pytest.mark.timeout(120)

# From the death of a process until its clients are lost: its lease, a beat, and what a busy machine takes.
# The ten seconds would show.
LOST_WITHIN = LEASES["PROCESS_LEASE"] + LEASES["BEAT"] + 3 * UNIT


@pytest.mark.heavy
@pytest.mark.parametrize("layer", ["core", "pubsub"])
async def test_a_server_with_a_fast_clock_lives_as_long_as_the_others(broker: Broker, layer: str) -> None:
    site = Site(broker, layer=layer)
    async with site.stack:
        fast = await site.add_server(daphne, env=CLOCK_AHEAD)
        right = await site.add_server(uvicorn)
        third = await site.add_server(uvicorn)
        await site.add_worker()
        watcher = await site.enter(third, "room", "watcher")
        clients = [
            await site.enter(server, "room", f"c{number}")
            for number, server in enumerate((fast, right, fast, right))
        ]
        names = [client.name or "" for client in clients]
        began = time.monotonic()
        heard: list[str] = []
        # Two leases long they talk; whoever were declared dead would be seen to leave.
        while time.monotonic() - began < 2 * LEASES["PROCESS_LEASE"]:
            await asyncio.gather(*(client.say(f"{client.name} {len(heard) // 4}") for client in clients))
            for _ in clients:
                message = await watcher.next()
                while message["type"] != "said":
                    assert message["type"] == "joined"
                    message = await watcher.next()
                heard.append(message["text"])
        assert_in_order(heard, names, len(heard) // 4)
        assert await watcher.here() == sorted([*names, "watcher"])
        for server, gone in ((fast, {"c0", "c2"}), (right, {"c1", "c3"})):
            server.kill9()
            killed = time.monotonic()
            left = [await watcher.until(type="left") for _ in gone]
            took = time.monotonic() - killed
            assert {(one["client"], one["reason"]) for one in left} == {(name, "lost") for name in gone}
            assert LEASES["PROCESS_LEASE"] - 1.5 * LEASES["BEAT"] < took < LOST_WITHIN
        assert await watcher.here() == ["watcher"]
        assert site.complaints() == []


@pytest.mark.heavy
async def test_a_worker_with_a_fast_clock_takes_no_hub_before_its_time(broker: Broker) -> None:
    site = Site(broker)
    async with site.stack:
        holder = await site.add_worker()
        ann = await site.enter(await site.add_server(uvicorn), "room", "ann", RoomClient)
        await ann.send({"type": "wait", "seconds": 60 * UNIT, "text": "never said"})
        assert (await ann.until(type="begun"))["worker"] == holder.pid
        # A right clock's hub goes over to a fast one, and that one's to a right one again.
        for env in (CLOCK_AHEAD, {}):
            heir = await site.add_worker(env)
            begun = asyncio.create_task(ann.until(type="begun"))
            await asyncio.wait([begun], timeout=1.5 * LEASES["HUB_LEASE"])
            assert not begun.done(), "it was taken from a worker that lives"
            holder.kill9()
            killed = time.monotonic()
            assert (await begun)["worker"] == heir.pid
            assert time.monotonic() - killed < LOST_WITHIN
            holder = heir
        holder.kill9()
        await holder.wait()


@pytest.mark.heavy
async def test_a_hub_that_changes_between_clocks_is_heard_in_one_order(broker: Broker) -> None:
    site = Site(broker, PROCESS_LEASE=30 * UNIT)
    async with site.stack:
        server, slow = await site.add_server(uvicorn), await site.add_server(daphne)
        fast = await site.add_worker(env=CLOCK_AHEAD)
        ann = await site.enter(server, "room", "ann")
        bob = await site.enter(slow, "room", "bob")
        await ann.until(type="joined", client="bob")
        # What one worker says, and then another, waits at the broker for a server that takes nothing.
        slow.signal(signal.SIGSTOP)
        await talk(ann, 3)
        await said(ann, 3)
        assert (await fast.stop()) == 0
        await site.add_worker()
        for number in range(3, 6):
            await ann.say(f"ann {number}")
            await ann.here()
        slow.signal(signal.SIGCONT)
        assert await said(bob, 6) == [f"ann {number}" for number in range(6)]
