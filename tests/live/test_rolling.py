"""A rolling restart behind nginx, all as the deployment page has it, while everybody goes on talking."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from django_hub.client import HubClient, Received, Resync, hub_connect
from tests.live.nginx import PAGE, Nginx, needs_nginx
from tests.live.servers import Broker, WebServer, daphne, eventually, uvicorn
from tests.live.site import PATIENCE, UNIT, Site
from tests.pages import blocks

pytestmark = [pytest.mark.live, pytest.mark.broker]


class Person:
    """From `begin` until it rests it says ``name 0``, ``name 1``, …, and it writes down what it hears."""

    def __init__(self, name: str, hub: HubClient) -> None:
        self.name = name
        self.accepted = 0
        self.heard: list[str] = []
        self.resyncs = 0
        self._hub = hub
        self._resting = False
        self._talking: asyncio.Task[None] | None = None
        self._listening = asyncio.create_task(self._listen())

    def begin(self) -> None:
        self._talking = asyncio.create_task(self._talk())

    async def rests(self) -> list[str]:
        """All it said."""
        self._resting = True
        if self._talking is not None:
            await self._talking
        return [f"{self.name} {number}" for number in range(self.accepted)]

    async def _talk(self) -> None:
        while not self._resting:
            await self._hub.send({"say": f"{self.name} {self.accepted}"})
            self.accepted += 1
            await asyncio.sleep(0.1 * UNIT)

    async def _listen(self) -> None:
        async for item in self._hub:
            match item:
                case Received(data={"said": text}):
                    # The site puts how often it was to be said behind it.
                    self.heard.append(text.removesuffix(" 0"))
                case Resync():
                    self.resyncs += 1

    async def end(self) -> None:
        tasks = [task for task in (self._talking, self._listening) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@contextlib.asynccontextmanager
async def person(name: str, nginx: Nginx) -> AsyncIterator[Person]:
    async with hub_connect(nginx.ws_url(f"/ws/garden/?name={name}")) as hub:
        someone = Person(name, hub)
        try:
            yield someone
        finally:
            await someone.end()


async def all_go_on(people: list[Person]) -> None:
    """Return when what each says is taken, and each has heard somebody."""
    before = [(each.accepted, len(each.heard)) for each in people]

    def more() -> bool:
        now = [(each.accepted, len(each.heard)) for each in people]
        return all(n[0] > b[0] + 5 and n[1] > b[1] for n, b in zip(now, before, strict=True))

    await eventually(more, timeout=PATIENCE)


def page_settings() -> dict[str, Any]:
    (block,) = [block for block in blocks(PAGE, "python") if "DRAIN" in block]
    names: dict[str, Any] = {}
    exec(block, names)  # our own page
    settings: dict[str, Any] = names["DJANGO_HUB"]
    assert settings["DRAIN"] > 0
    # As long as it takes here, not as long as a large site wants it.
    return {**settings, "DRAIN": 2 * UNIT}


@pytest.mark.heavy
@needs_nginx
@pytest.mark.timeout(120)
async def test_no_client_notices(broker: Broker, tmp_path: Path) -> None:
    site = Site(broker, app="tests.live.talks:application", **page_settings())
    async with site.stack:
        servers: list[WebServer] = [
            *await asyncio.gather(site.add_server(daphne), site.add_server(uvicorn))
        ]
        await site.add_worker()
        nginx = await site.stack.enter_async_context(Nginx(tmp_path, servers))
        names = [f"p{number}" for number in range(10)]
        people = [await site.stack.enter_async_context(person(name, nginx)) for name in names]
        # Who comes later has not heard what was said before.
        for each in people:
            each.begin()
        for server in servers:
            await all_go_on(people)
            server.signal(signal.SIGTERM)
            assert await server.wait() in (0, -signal.SIGTERM)
            # Before it is there again, all are at the other one.
            await all_go_on(people)
            await server.start()
        await all_go_on(people)
        said = [text for each in people for text in await each.rests()]
        heard = people[0].heard

        def all_heard() -> bool:
            return all(len(each.heard) >= len(said) for each in people)

        await eventually(all_heard, timeout=PATIENCE)
        assert sorted(heard) == sorted(said), "lost or doubled"
        for each in people:
            assert each.heard == heard, "not what the others heard, or not in that order"
            assert [text for text in heard if text.split()[0] == each.name] == [
                f"{each.name} {number}" for number in range(each.accepted)
            ]
            assert each.resyncs == 0
        lines = [line.partition("handled ")[2].split() for line in site.remarks("handled ")]
        events = Counter((kind, client) for kind, client, *_ in lines)
        for name in names:
            # Each was at one of the two when that was told to end, and was the same client all the time.
            assert events["Joined", name] == 1
            assert events["Lost", name] == events["Resumed", name] >= 1
            assert events["Left", name] == 0
        assert site.complaints() == []
