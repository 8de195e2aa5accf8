"""What is measured on: a broker, a server and a worker, each on cores of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator

from tests.live.servers import Process, WebServer, daphne, uvicorn, valkey, worker

APP = "benchmarks.site.asgi:application"
CORES = sorted(os.sched_getaffinity(0))
# The server has a core of its own; what puts the load on it, and a worker, has the other ones.
SERVER, OTHERS = {CORES[0]}, set(CORES[1:]) or {CORES[0]}


@contextlib.contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Processes started inside run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def server(kind: str, env: dict[str, str]) -> WebServer:
    """``daphne``, or ``uvicorn`` on uvloop."""
    env = {**env, "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings"}
    if kind == "daphne":
        return daphne(APP, env, "-v", "0", "--ping-interval", "0")
    return uvicorn(APP, env, "--log-level", "warning", loop="uvloop")


@contextlib.asynccontextmanager
async def alone(kind: str, **env: str) -> AsyncIterator[WebServer]:
    """A server with the in-memory layer, on its core."""
    with pinned(SERVER):
        process = server(kind, env)
        await process.start()
    async with _stopped(process):
        yield process


@contextlib.asynccontextmanager
async def site(kind: str, channel: str, layer: str = "core") -> AsyncIterator[WebServer]:
    """A server on one core and a worker on another; the broker is where there is room."""
    async with valkey(appendonly="no") as broker:
        env = {**broker.env, "LAYER": layer, "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings"}
        with pinned(SERVER):
            serving = await server(kind, env).start()
        with pinned(OTHERS):
            working = await worker(channel, env=env).start()
        async with _stopped(serving, working):
            yield serving


@contextlib.asynccontextmanager
async def _stopped(*processes: Process) -> AsyncIterator[None]:
    """Ends processes: what they have to say of it is no concern of a benchmark."""
    try:
        yield
    finally:
        for process in processes:
            process.kill9()
            await process.wait()
