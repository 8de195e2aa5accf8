"""The admin's page on one server of several: it sees all of them, and costs nothing when it is gone."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis.asyncio
from playwright.async_api import Browser

from tests.live.operators import APP, HallClient, Operator, log_of, manage, prepared
from tests.live.servers import Broker, eventually
from tests.live.site import PATIENCE, UNIT, Site
from tests.live.test_admin_page import logged_in

pytestmark = [pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module")
async def site(broker: Broker, tmp_path: Path) -> AsyncIterator[Site]:
    """One daphne, one uvicorn and a worker, that beat so seldom that none does while a test counts."""
    leases = {"BEAT": 60 * UNIT, "PROCESS_LEASE": 180 * UNIT, "HUB_LEASE": 180 * UNIT}
    site = Site(broker, app=APP, **leases)
    site.env |= prepared(tmp_path) | {"DJANGO_SETTINGS_MODULE": "tests.live.operated_settings"}
    async with site.stack:
        await site.start(workers=1)
        yield site


async def test_all_servers_are_seen_from_one(site: Site, browser: Browser) -> None:
    here, there = site.servers
    async with (
        HallClient(here, "garden", "ann") as ann,
        HallClient(there, "garden", "bob") as bob,
        HallClient(there, "kitchen", "eve"),
    ):
        page = await logged_in(browser, here, "root")
        page.on("dialog", lambda dialog: dialog.accept())
        await page.locator(".card", has_text="servers").get_by_text("2", exact=True).wait_for()
        await page.locator("#rows tr", has_text="kitchen").wait_for()
        await page.click("#rows a:has-text('garden')")
        rows = page.locator("#rows tbody tr")
        for name in ("ann", "bob"):
            # The address is known to the client's own server only.
            await rows.filter(has_text=name).get_by_text("127.0.0.1").wait_for()
        for client in (ann, bob):
            await client.say(f"from {client.name}")
            await page.locator("#events li", has_text=f"from {client.name}").wait_for()
        await rows.filter(has_text="bob").get_by_role("button", name="Send").wait_for()
        await rows.filter(has_text="bob").get_by_role("button", name="Kick").click()
        assert await bob.closed() == 4403
        await rows.filter(has_text="bob").wait_for(state="detached")
        assert await rows.count() == 1
        await page.fill("#broadcast textarea", "to all")
        await page.click("#broadcast button")
        await ann.hears("to all")
        told = await asyncio.to_thread(manage, site.env, "hubs", "list", "--begins", "k")
        assert "kitchen: 1 members" in told
    assert [row[3] for row in log_of(site.env)] == ["Kicked 'bob'.", "Broadcast: to all"]
    assert site.complaints() == []


async def test_dead_letters_of_a_worker_elsewhere(site: Site) -> None:
    here, there = site.servers
    root = await Operator.come(here, "root")
    async with HallClient(there, "letters", "ann") as ann:
        await ann.say("bad")
        await root.sees("letters", lambda picture: picture["dead"])
        await ann.say("mend")
        await ann.hears("mend")
        await root.does("retry", "letters")
        await ann.hears("bad")


async def calls(broker: Broker) -> Counter[str]:
    """How often each command was called so far, but for those that a layer waits with, and ours here."""
    async with redis.asyncio.Redis.from_url(broker.url) as client:
        stats = await client.info("commandstats")
    waiting = ("bzpopmin", "zpopmin", "zrem", "info", "client", "hello", "ping")
    names = {name: name.removeprefix("cmdstat_").partition("|")[0] for name in stats}
    return Counter({name: stats[key]["calls"] for key, name in names.items() if name not in waiting})


async def test_it_costs_nothing_while_nobody_looks(site: Site) -> None:
    here, there = site.servers
    root = await Operator.come(here, "root")

    async def cost(ann: HallClient, number: int) -> Counter[str]:
        """Of a message that is said, and of some time in which nothing happens."""
        before = await calls(site.broker)
        await ann.say(str(number))
        await ann.hears(str(number))
        await asyncio.sleep(3 * UNIT)
        return await calls(site.broker) - before

    async with HallClient(there, "garden", "ann") as ann:
        await cost(ann, 0)  # scripts are loaded, hubs are entered
        before = await cost(ann, 1)
        async with await root.open() as socket:
            await socket.send('{"hub": "garden", "search": "", "after": "", "by_name": false}')
            await socket.recv()
            looked = await cost(ann, 2)
        assert looked.total() > before.total() + 10

        async def as_before() -> bool:
            # Until a worker keeps no handled events any more, which nobody asks for.
            now = await cost(ann, 3)
            assert now == before
            return True

        await eventually(as_before, PATIENCE)
