"""A server that is told to end sends its clients elsewhere, some at a time, while the others go on."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.live.servers import Broker, WebServer, daphne, eventually, uvicorn
from tests.live.site import PATIENCE, UNIT, Site
from tests.live.talker import Talker

pytestmark = [pytest.mark.live, pytest.mark.broker, pytest.mark.heavy]

APP = "tests.live.talks:application"
DRAIN = 1.5 * UNIT


def uvicorn_on_uvloop(*args: object) -> WebServer:
    return uvicorn(*args, loop="uvloop", ws="websockets")  # type: ignore[arg-type]


Kind = Callable[..., WebServer]
kinds = pytest.mark.parametrize(
    "kind", [daphne, uvicorn, pytest.param(uvicorn_on_uvloop, marks=pytest.mark.heavy)]
)


@pytest.fixture
async def site(broker: Broker) -> AsyncIterator[Site]:
    site = Site(broker, app=APP, DRAIN=DRAIN)
    async with site.stack:
        yield site


class Early:
    """A TCP connection from before the end, on which the handshake comes after it began."""

    def __init__(self, server: WebServer) -> None:
        self._tcp = socket.create_connection((server.host, server.port))
        self._url = server.ws_url("/ws/garden/")

    async def open(self, *subprotocols: str) -> ClientConnection:
        return await connect(self._url, sock=self._tcp, subprotocols=subprotocols or None, proxy=None)  # type: ignore[arg-type]


def is_refused(server: WebServer) -> bool:
    try:
        socket.create_connection((server.host, server.port)).close()
    except ConnectionError:
        # One that came as it stopped to listen was not refused, but reset.
        return True
    return False


async def all_said(talker: Talker) -> list[str]:
    said: list[str] = []
    while "the end 2" not in said:
        said += [message["said"] for message in await talker.said(1)]
    return said


async def close_code(client: ClientConnection) -> int | None:
    try:
        while True:
            await client.recv()
    except ConnectionClosed:
        return client.close_code


@kinds
async def test_clients_go_elsewhere_one_after_another_and_miss_nothing(site: Site, kind: Kind) -> None:
    leaving, there, worker = await asyncio.gather(
        site.add_server(kind), site.add_server(uvicorn), site.add_worker()
    )
    anna = await Talker("anna").come(there)
    talkers = [await Talker(f"t{number}").come(leaving) for number in range(5)]
    raw = await site.stack.enter_async_context(connect(leaving.ws_url("/ws/garden/?name=raw")))
    early = [Early(leaving), Early(leaving)]

    def handled(*words: str) -> list[str]:
        lines = [line.partition("handled ")[2] for line in worker.log().splitlines() if "handled " in line]
        return [line for line in lines if line.startswith(words)]

    await eventually(lambda: handled("Joined raw"), PATIENCE, "all are members")
    begun = time.monotonic()
    leaving.signal(signal.SIGTERM)
    await eventually(lambda: is_refused(leaving), PATIENCE, "the server takes no new connections")
    # Who got in before finds out by a code.
    refused = await early[0].open("hub.v1")
    closing = json.loads(await refused.recv())
    assert (closing["type"], closing["code"], closing["reconnect"]) == ("closing", 1012, True)
    assert await close_code(refused) == 1012
    assert await close_code(await early[1].open()) == 1012

    ended: dict[str, float] = {}

    async def see_off(talker: Talker) -> None:
        told = await talker.until(lambda frame: frame["type"] == "closing")
        assert (told["code"], told["reconnect"]) == (1012, True)
        ended[talker.path] = time.monotonic()
        assert await talker.closed() == 1012

    seeing = [asyncio.create_task(see_off(talker)) for talker in talkers]
    await asyncio.wait(seeing, return_when=asyncio.FIRST_COMPLETED)
    # Those still here go on as usual, until it is their turn.
    staying = [talker for talker in talkers if talker.code is None and talker.path not in ended]
    tries = [talker.say({"say": talker.path}) for talker in staying]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    taken = {f"{t.path} 0" for t, error in zip(staying, outcomes, strict=True) if error == 1}
    assert taken, f"nobody could go on: {outcomes}"
    await asyncio.gather(*seeing)
    assert await close_code(raw) == 1012
    assert max(ended.values()) - min(ended.values()) > DRAIN / 3
    assert await leaving.wait() in (0, -signal.SIGTERM)
    assert time.monotonic() - begun < DRAIN + 5 * UNIT

    await anna.say({"say": "the end", "times": 3})
    told = await all_said(anna)
    assert taken <= set(told)
    for talker in talkers:
        await talker.come(there)
        assert (talker.hello["recovered"], talker.hello["resumed"]) == ("yes", True)
        assert await all_said(talker) == told
    await eventually(lambda: len(handled("Resumed t")) == 5, PATIENCE, "all are back")
    assert len(handled("Lost t")) == 5
    assert not handled("Left t")
    assert handled("Left raw") == ["Left raw shutdown"]
    assert leaving.complaints() == []


@kinds
async def test_it_ends_at_once_when_told_again(broker: Broker, kind: Kind) -> None:
    site = Site(broker, app=APP, DRAIN=600.0)
    async with site.stack:
        server = await site.add_server(kind)
        talkers = [await Talker(f"t{number}").come(server) for number in range(8)]
        server.signal(signal.SIGTERM)
        await eventually(lambda: is_refused(server), PATIENCE, "it has heard")
        server.signal(signal.SIGTERM)
        assert await server.wait(10 * UNIT) in (0, -signal.SIGTERM)
        for talker in talkers:
            assert await talker.closed() in (1006, 1012)


@kinds
async def test_it_ends_also_where_a_library_wrapped_its_handler(broker: Broker, kind: Kind) -> None:
    site = Site(broker, app="tests.live.reported:application", DRAIN=DRAIN)
    async with site.stack:
        server = await site.add_server(kind)
        anna = await Talker("anna").come(server)
        await anna.say("wrap it")
        server.signal(signal.SIGTERM)
        assert await server.wait(DRAIN + 5 * UNIT) in (0, -signal.SIGTERM)
        assert await anna.closed() == 1012
        assert server.log().count("reported 15") == 1
        assert server.complaints() == []
