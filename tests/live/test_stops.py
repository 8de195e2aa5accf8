"""Servers and workers are told to stop, one after another, while everybody goes on talking."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
from collections import Counter

import pytest
import websockets

from tests.live.chat import ChatClient, LoggedClient
from tests.live.servers import Broker, Process, WebServer, daphne, eventually, uvicorn
from tests.live.site import PATIENCE, UNIT, Site, noted

pytestmark = pytest.mark.timeout(120)

# Messages that a client has under way at once.
WINDOW = 4


class Talker:
    """Talks without a pause, as ``name.0``; and when its server goes, as ``name.1`` at the other one."""

    def __init__(self, room: str, name: str, servers: list[WebServer]) -> None:
        self.room = room
        self.name = name
        self.echoed: dict[str, list[str]] = {}
        self._servers = itertools.cycle(servers)
        self.rest = asyncio.Event()

    async def talk(self) -> None:
        for life in itertools.count():
            if self.rest.is_set():
                return
            name = f"{self.name}.{life}"
            try:
                async with LoggedClient(next(self._servers), self.room, name) as client:
                    await client.until(type="joined", client=name)
                    self.echoed[name] = []
                    await self._talk(client, self.echoed[name])
            except (OSError, websockets.WebSocketException):
                # The server goes, or is not there again yet.
                await asyncio.sleep(0.05 * UNIT)

    async def _talk(self, client: ChatClient, echoed: list[str]) -> None:
        numbers = itertools.count()
        while not self.rest.is_set():
            for _ in range(WINDOW):
                await client.say(f"{client.name} {next(numbers)}")
            for _ in range(WINDOW):
                echo = await client.until(type="said", client=client.name)
                echoed.append(echo["text"])


@pytest.mark.heavy
@pytest.mark.parametrize("layer", ["core", "pubsub"])
async def test_a_site_that_is_stopped_piece_by_piece_under_load_loses_nothing(
    broker: Broker, layer: str
) -> None:
    site = Site(broker, layer=layer)
    async with site.stack:
        servers = [await site.add_server(daphne), await site.add_server(uvicorn)]
        third = await site.add_server(uvicorn)
        workers = [await site.add_worker(), await site.add_worker()]
        rooms = ("r0", "r1")
        watchers = {room: await site.enter(third, room, f"watcher-{room}") for room in rooms}
        talkers = [
            Talker(rooms[number % 2], f"t{number}", servers[number % 4 // 2 :] + servers[: number % 4 // 2])
            for number in range(8)
        ]
        heard: dict[str, list[dict[str, str]]] = {room: [] for room in rooms}
        listening = [asyncio.create_task(listen(watchers[room], heard[room])) for room in rooms]
        talking = [asyncio.create_task(talker.talk()) for talker in talkers]
        stops: list[Process] = [servers[0], workers[0], servers[1], workers[1]]
        for process in stops:
            # Not before everybody is at it, and not when they have stopped.
            await all_talk(talkers)
            process.signal(signal.SIGTERM)
            code = await process.wait()
            assert code == 0 if process in workers else code in (0, -signal.SIGTERM)
            await process.start()
        await all_talk(talkers)
        for talker in talkers:
            talker.rest.set()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*talking)
        everybody = {name for talker in talkers for name in talker.echoed}

        def all_left() -> bool:
            told = [message for messages in heard.values() for message in messages]
            here = {message["client"] for message in told if message["type"] == "joined"}
            left = {message["client"] for message in told if message["type"] == "left"}
            return everybody <= here == left

        await eventually(all_left, timeout=PATIENCE)
        for task in listening:
            task.cancel()
        said = Counter(m["text"] for told in heard.values() for m in told if m["type"] == "said")
        assert set(said.values()) == {1}, "something was handled twice"
        # A server that stops may not come to write down the last of what it accepted.
        assert noted("accepted", servers) - set(said) == set(), "what was accepted was not handled"
        for talker in talkers:
            for name, echoed in talker.echoed.items():
                mine = [m for m in heard[talker.room] if m["client"] == name]
                texts = [m["text"] for m in mine if m["type"] == "said"]
                assert texts == [f"{name} {number}" for number in range(len(texts))], "a gap"
                assert echoed == texts[: len(echoed)]
                assert [m["type"] for m in mine] == ["joined", *["said"] * len(texts), "left"]
        reasons = Counter(m["reason"] for told in heard.values() for m in told if m["type"] == "left")
        assert set(reasons) == {"shutdown", "close"}
        # Half of the talkers are at a server when it stops, all of them at the second.
        assert reasons["shutdown"] >= len(talkers), reasons
        assert site.complaints() == []


async def listen(client: ChatClient, heard: list[dict[str, str]]) -> None:
    while True:
        message = json.loads(await client.socket.recv())
        if message.get("client", client.name) != client.name:
            heard.append(message)


async def all_talk(talkers: list[Talker]) -> None:
    """Return when each has had some more echoes."""
    before = [len(list(itertools.chain(*talker.echoed.values()))) for talker in talkers]

    def more() -> bool:
        now = [len(list(itertools.chain(*talker.echoed.values()))) for talker in talkers]
        return all(n - b > 3 * WINDOW for n, b in zip(now, before, strict=True))

    await eventually(more, timeout=PATIENCE)
