"""All clients of a server that was killed come back at once, to another one."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from benchmarks import stage
from benchmarks.generator import Measured
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario
from tests.live.servers import WebServer

_CLIENTS = 1000
_MISSED = 10
# Handshakes under way at once: more than a server takes at a time, and not all of them.
_AT_ONCE = 100
_SECONDS = Figure("seconds", "s until the last one had all it missed")
_RESUMED = Figure("resumed", "of them resumed")


class _Client:
    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self.socket: ClientConnection

    async def come(self, server: WebServer) -> dict[str, Any]:
        url = server.ws_url("/returning/fan/h/")
        self.socket = await connect(
            url, subprotocols=["hub.v1"], compression=None, ping_interval=None, open_timeout=60
        )
        await self.socket.send(json.dumps({"type": "connect", **self.known}))
        hello = await self.next("hello")
        self.known |= {name: hello[name] for name in ("token", "epoch", "seq", "direct")}
        return hello

    async def next(self, kind: str) -> dict[str, Any]:
        while True:
            frame: dict[str, Any] = json.loads(await self.socket.recv())
            if frame.get("type", "message") == kind:
                return frame

    async def hear(self, count: int) -> None:
        for _ in range(count):
            self.known["seq"] = (await self.next("message"))["seq"]


def _to(kind: str) -> Measure:
    async def measure(_: float) -> Measured:
        free = asyncio.Semaphore(_AT_ONCE)
        async with stage.together(kind, kind, channel="hub-fan") as (server, other):
            clients, speaker = [_Client() for _ in range(_CLIENTS)], _Client()

            async def come(client: _Client) -> None:
                async with free:
                    await client.come(server)

            await asyncio.gather(*map(come, clients))
            await speaker.come(other)
            await _say(speaker, 1)
            await asyncio.gather(*(client.hear(1) for client in clients))
            server.kill9()
            began = time.monotonic()
            await _say(speaker, _MISSED)

            async def come_back(client: _Client) -> bool:
                async with free:
                    hello = await client.come(other)
                    await client.hear(_MISSED)
                return bool(hello["resumed"] and hello["recovered"] == "yes")

            resumed = sum(await asyncio.gather(*map(come_back, clients)))
            seconds = time.monotonic() - began
            await asyncio.gather(*(client.socket.close() for client in (*clients, speaker)))
        return {"seconds": seconds, "resumed": resumed}

    return measure


async def _say(speaker: _Client, count: int) -> None:
    for number in range(count):
        frame = {"type": "message", "id": number + 1, "data": f"message {number}"}
        await speaker.socket.send(json.dumps(frame))
        await speaker.next("message")


SCENARIOS = [
    Scenario(
        name="returns",
        title=f"A server with {_CLIENTS:,} clients of `hub.v1` is killed with -9: all come back to another "
        f"one at once, having missed {_MISSED} messages",
        figures=(_SECONDS, _RESUMED),
        contenders=[Contender(name=kind, measure=_to(kind)) for kind in ("daphne", "uvicorn")],
        comparisons=[
            Comparison(one=kind, figure=_SECONDS, must=5.0, most=True) for kind in ("daphne", "uvicorn")
        ],
        note="The clients are Python's, in one process that shares its core with the second server, the "
        "worker and the Valkey. They do not back off, and come as fast as they are taken.",
    )
]
