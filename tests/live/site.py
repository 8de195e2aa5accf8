"""A site on one broker: its servers and workers, to each of which a test may do bad things."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import redis.asyncio

from tests.live.chat import ChatClient
from tests.live.servers import MS, ROOT, Broker, Process, WebServer, Worker, daphne, uvicorn, worker

APP = "tests.live.rooms:application"
UNIT = 1_000 * MS
LEASES = {"BEAT": 0.5 * UNIT, "PROCESS_LEASE": 2 * UNIT, "HUB_LEASE": 2 * UNIT}
PATIENCE = 40 * UNIT

# For the environment of one process: its clock is 10 seconds ahead.
CLOCK_AHEAD = {"PYTHONPATH": str(ROOT / "tests/live/ahead"), "CLOCK_AHEAD": "10"}


class Site:
    """One daphne, one uvicorn, and workers.

    ``layer`` is a layer's kind, ``config`` goes into its settings, ``host`` into those of its host, ``pop``
    is how long it blocks for a message; all other options are for DJANGO_HUB.
    """

    def __init__(
        self,
        broker: Broker,
        layer: str = "core",
        config: Mapping[str, Any] | None = None,
        host: Mapping[str, Any] | None = None,
        pop: float | None = None,
        app: str = APP,
        **hub: Any,
    ) -> None:
        self.broker = broker
        self.app = app
        self.env = {
            "DJANGO_SETTINGS_MODULE": "tests.live.settings",
            "ASGI_APP": app.replace(":", "."),
            "REDIS_URL": broker.url,
            "CHANNEL_LAYER": layer,
            "LAYER_CONFIG": json.dumps(config or {}),
            "LAYER_HOST": json.dumps(host or {}),
            "LAYER_POP": "" if pop is None else str(pop),
            "DJANGO_HUB": json.dumps({**LEASES, **hub}),
        }
        self.stack = AsyncExitStack()
        self.servers: list[WebServer] = []
        self.workers: list[Worker] = []

    async def start(self, workers: int = 2) -> None:
        """All at once; and so they end, after the clients that came since."""
        self.servers += [kind(self.app, self.env) for kind in (daphne, uvicorn)]
        self.workers += [worker(env=self.env) for _ in range(workers)]
        processes = (*self.servers, *self.workers)
        async with asyncio.TaskGroup() as starting:
            for process in processes:
                starting.create_task(self.stack.enter_async_context(process))

        async def stop(kind: type[BaseException] | None, *_: object) -> None:
            if kind is None:
                await asyncio.gather(*(process.stop() for process in processes if process.running))

        self.stack.push_async_exit(stop)

    async def add_server(
        self, kind: Callable[..., WebServer], *options: str, env: Mapping[str, str] | None = None
    ) -> WebServer:
        server = await self.stack.enter_async_context(kind(self.app, {**self.env, **(env or {})}, *options))
        self.servers.append(server)
        return server

    async def add_worker(self, env: Mapping[str, str] | None = None) -> Worker:
        process = await self.stack.enter_async_context(worker(env={**self.env, **(env or {})}))
        self.workers.append(process)
        return process

    async def enter(
        self,
        server: WebServer,
        room: str,
        name: str,
        kind: type[ChatClient] = ChatClient,
        **options: Any,
    ) -> ChatClient:
        client = await self.stack.enter_async_context(kind(server, room, name, **options))
        await client.until(type="joined", client=name)
        return client

    def complaints(self) -> list[str]:
        return [line for process in (*self.servers, *self.workers) for line in process.complaints()]

    def remarks(self, *words: str) -> list[str]:
        """Lines of any process's log in which one of these words stands."""
        lines = [line for process in (*self.servers, *self.workers) for line in process.log().splitlines()]
        return [line for line in lines if any(word in line for word in words)]

    async def keys(self) -> list[str]:
        """The hubs' keys at the broker, without those that are the store's own for as long as it lives."""
        async with redis.asyncio.Redis.from_url(self.broker.url, decode_responses=True) as client:
            # The layer's own, of channels of processes that have ended, go when they expire.
            found = [key for key in await client.keys("*hub*") if not key.startswith("asgispecific")]
        # A hub's log goes by itself, some time after the last that was said.
        own = ("processes", "known", "epoch", "log", "history")
        return [key for key in found if key.rsplit(":", 1)[-1] not in own]

    async def nothing_left(self) -> bool:
        left = await self.keys()
        assert not left, f"left at the broker: {left[:10]} of {len(left)}"
        return True


Start = Callable[..., Any]


async def said(client: ChatClient, count: int) -> list[str]:
    """The next ``count`` messages said to all."""
    return [(await client.until(type="said"))["text"] for _ in range(count)]


async def talk(client: ChatClient, count: int) -> None:
    for number in range(count):
        await client.say(f"{client.name} {number}")


def assert_in_order(heard: list[str], names: list[str], count: int) -> None:
    """Each of them was heard ``count`` times, each message once, in the speaker's order."""
    for name in names:
        own = [text for text in heard if text.startswith(f"{name} ")]
        assert own == [f"{name} {number}" for number in range(count)]


def noted(what: str, processes: Iterable[Process]) -> set[str]:
    """What was said in the logged chat, as these processes wrote it down: ``accepted``, or ``handled``."""
    found = [re.findall(what + r" (\{.*\})", process.log()) for process in processes]
    return {json.loads(text)["text"] for texts in found for text in texts}
