"""Limits over two servers and one Valkey: they hold over reconnects, and over the death of a server."""

import asyncio
import contextlib
import json
from typing import Any

import pytest
import websockets

from tests.live.servers import MS, Broker, WebServer, daphne, eventually, uvicorn

APP = "tests.live.guarded:application"
HUB = {
    "CONNECTIONS_PER_ADDRESS": 6,
    "JOINS_PER_ADDRESS": None,
    "BEAT": 200 * MS,
    "PROCESS_LEASE": 1_000 * MS,
}


def connect(server: WebServer, name: str, **options: Any) -> Any:
    url = server.ws_url(f"/room/lobby/{name}/")
    return websockets.connect(url, additional_headers={"X-Forwarded-For": "203.0.113.9"}, **options)


async def is_in(client: Any) -> bool:
    with contextlib.suppress(websockets.ConnectionClosed):
        await client.send("in")
        return str(await client.recv()) == "in"
    assert client.close_code == 4431
    return False


@pytest.fixture
def environment(broker: Broker) -> dict[str, str]:
    return {"REDIS_URL": broker.url, "HUB": json.dumps(HUB)}


async def test_servers_count_together_and_forget_a_dead_one(environment: dict[str, str]) -> None:
    async with (
        daphne(APP, environment, "--verbosity", "0") as one,
        uvicorn(APP, environment) as other,
        contextlib.AsyncExitStack() as stack,
    ):

        async def come(server: WebServer, name: str) -> bool:
            return await is_in(await stack.enter_async_context(connect(server, name)))

        assert await come(one, "a1")
        assert await come(one, "a2")
        # All at once, of which each server knows a part.
        came = await asyncio.gather(*(come((one, other)[n % 2], f"c{n}") for n in range(12)))
        assert sum(came) == 4
        # Reconnecting does not help, nor does it spoil the count.
        for number in range(10):
            client = await connect(one if number % 2 else other, f"d{number}")
            assert not await is_in(client)
        here = 2 + sum(came[::2])
        one.kill9()
        await one.wait()
        back = [False]

        async def room() -> bool:
            client = await connect(other, f"e{len(back)}")
            back.append(await is_in(client))
            stack.push_async_callback(client.close)
            await asyncio.sleep(100 * MS)
            return sum(back) == here

        await eventually(room, 15_000 * MS)
        assert not await come(other, "last")


@pytest.mark.parametrize("kind", [daphne, uvicorn])
async def test_a_server_that_stops_gives_back_what_its_sockets_held(
    environment: dict[str, str], kind: Any
) -> None:
    environment["HUB"] = json.dumps({**HUB, "PROCESS_LEASE": 30_000 * MS})
    async with (
        kind(APP, environment) as one,
        uvicorn(APP, environment) as other,
        contextlib.AsyncExitStack() as stack,
    ):

        async def come(server: WebServer, name: str) -> bool:
            return await is_in(await stack.enter_async_context(connect(server, name)))

        came = await asyncio.gather(*(come(one, f"a{n}") for n in range(6)))
        assert sum(came) == 6
        assert not await come(other, "full")
        # As browsers open one ahead: Daphne then cancels no application.
        _, ahead = await asyncio.open_connection(one.host, one.port)
        await one.stop()
        ahead.close()
        # Well before its lease is over.
        await eventually(lambda: come(other, "back"), 5_000 * MS)
