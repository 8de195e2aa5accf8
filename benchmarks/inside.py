"""What is measured inside of one process: ``python -m benchmarks.inside NAME SECONDS`` is that process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.live.servers import valkey

# Clients that come at the same time.
_AT_ONCE = 200


def joins(seconds: float) -> dict[str, float]:
    return _run("joins", seconds)


def blocking_hub_broadcast(seconds: float) -> dict[str, float]:
    return _run("blocking_hub_broadcast", seconds)


def blocking_group_send(seconds: float) -> dict[str, float]:
    return _run("blocking_group_send", seconds)


def _run(name: str, seconds: float) -> dict[str, float]:
    async def measure() -> dict[str, float]:
        async with valkey(appendonly="no") as broker:
            env = {**os.environ, **broker.env, "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings"}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.inside", name, str(seconds)),
                env=env,
                stdout=subprocess.PIPE,
            )
            out, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{name} ended with {process.returncode}")
        measured: dict[str, float] = json.loads(out)
        return measured

    return asyncio.run(measure())


# In that process


async def _join(seconds: float) -> dict[str, float]:
    from django_hub.bounds import Bounds
    from django_hub.connection import Connection, Departure
    from django_hub.relay import get_relay
    from django_hub.wires.asgi import AsgiWire

    async def send(message: dict[str, Any]) -> None:
        """A client that takes all."""

    def connection(number: int) -> Connection:
        name = f"h{number}"
        return Connection(
            hub=name,
            client_id=name,
            meta={},
            user_id=None,
            events="hub-fan",
            wire=AsgiWire(send),
            bounds=Bounds(),
        )

    relay = get_relay()
    clock = time.perf_counter
    joined: list[Connection] = []
    began = 0.0
    # The first round opens connections and loads scripts.
    for warm in (True, False):
        began, before = clock(), len(joined)
        while clock() - began < (0.5 if warm else seconds):
            some = [connection(len(joined) + number) for number in range(_AT_ONCE)]
            await asyncio.gather(*(relay.clients.join(each) for each in some))
            joined += some
    took, count = clock() - began, len(joined) - before
    for start in range(0, len(joined), _AT_ONCE):
        some = joined[start : start + _AT_ONCE]
        await asyncio.wait([relay.clients.leave(each, Departure(reason="close")) for each in some])
    return {"rate": count / took}


def _blocking(call: Callable[[], object], seconds: float) -> dict[str, float]:
    clock = time.perf_counter
    count, began = 0, 0.0
    for warm in (True, False):
        count, began = 0, clock()
        while clock() - began < (0.5 if warm else seconds):
            call()
            count += 1
    return {"rate": count / (clock() - began)}


async def _enter() -> None:
    """One process is in the hub's group, so that there is somebody to send to."""
    from channels.layers import get_channel_layer

    from django_hub.names import group_name

    for group in ("h", group_name("h")):
        await get_channel_layer().group_add(group, "somebody")


def _main(name: str, seconds: float) -> dict[str, float]:
    import django

    django.setup()
    if name != "joins":
        asyncio.run(_enter())
    if name == "joins":
        return asyncio.run(_join(seconds))
    if name == "blocking_hub_broadcast":
        from django_hub.sync import hub_broadcast

        return _blocking(lambda: hub_broadcast("h", {"type": "said", "text": "x" * 100}), seconds)
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    group_send = async_to_sync(get_channel_layer().group_send)
    return _blocking(lambda: group_send("h", {"type": "said", "text": "x" * 100}), seconds)


if __name__ == "__main__":
    print(json.dumps(_main(sys.argv[1], float(sys.argv[2]))))
