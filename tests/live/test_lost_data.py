"""The broker is restarted under load: what was accepted is handled, or told of if its data is gone."""

from __future__ import annotations

import asyncio
import itertools
import re
import time

import pytest
import redis.asyncio

from tests.live.chat import LoggedClient
from tests.live.servers import Broker, eventually
from tests.live.site import PATIENCE, UNIT, Site, Start, noted

pytestmark = pytest.mark.timeout(120)


async def talk_on(client: LoggedClient, stop: asyncio.Event) -> None:
    for number in itertools.count():
        if stop.is_set():
            return
        await client.say(f"{client.name} {number}")
        await asyncio.sleep(0.02 * UNIT)


async def nothing_waits(broker: Broker) -> bool:
    async with redis.asyncio.Redis.from_url(broker.url, decode_responses=True) as client:
        return not [key async for key in client.scan_iter("*:mail", _type="list")]


def reported(site: Site) -> int:
    """The sum of what the servers say is gone at most."""
    return sum(
        int(count)
        for server in site.servers
        for count in re.findall(r"lost its data, .* at most (\d+), of", server.log())
    )


@pytest.mark.parametrize(
    "keep_data",
    [pytest.param(True, id="with its data", marks=pytest.mark.heavy), pytest.param(False, id="without")],
)
async def test_what_was_accepted_is_handled_or_told_of(
    start: Start, broker: Broker, keep_data: bool
) -> None:
    site = await start()
    clients = [
        await site.enter(site.servers[number % 2], f"r{number % 3}", f"c{number}", LoggedClient)
        for number in range(6)
    ]
    stop = asyncio.Event()
    talking = [asyncio.create_task(talk_on(client, stop)) for client in clients]
    for client in clients:
        for _ in range(50):
            await client.until(type="said", client=client.name)
    await broker.stop()
    for server in site.servers:
        # Then nothing that was accepted is still on its way into the log.
        await eventually(lambda server=server: "changes wait for the store" in server.log())
    accepted_before = noted("accepted", site.servers)
    await broker.restart(keep_data=keep_data)
    back = time.monotonic()

    # Each client hears something that was accepted since, on the socket that it had.
    async def hears_again(client: LoggedClient) -> None:
        while (await client.until(type="said"))["text"] in accepted_before:
            pass

    await asyncio.gather(*map(hears_again, clients))
    assert time.monotonic() - back < 5 * UNIT
    stop.set()
    await asyncio.gather(*talking)

    async def all_handled() -> bool:
        lost = noted("accepted", site.servers) - noted("handled", site.workers)
        return await nothing_waits(broker) and lost <= (set() if keep_data else accepted_before)

    await eventually(all_handled, timeout=PATIENCE)
    if not keep_data:
        for server in site.servers:
            await eventually(lambda server=server: "lost its data" in server.log())
    lost = noted("accepted", site.servers) - noted("handled", site.workers)
    # A client's Joined is an event, too.
    assert len(lost) <= reported(site) <= len(accepted_before) + len(clients)
    assert keep_data == (reported(site) == 0)
    assert sorted(await clients[0].here()) == ["c0", "c3"]
    assert all(client.socket.state.name == "OPEN" for client in clients)
