"""What is measured on: a broker, a server and a worker, each on cores of its own."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator

from benchmarks.gauges import family
from tests.live.servers import Broker, Process, WebServer, daphne, uvicorn, valkey, worker

APP = "benchmarks.site.asgi:application"
SETTINGS = {"DJANGO_SETTINGS_MODULE": "benchmarks.site.settings"}
CORES = sorted(os.sched_getaffinity(0))
# The server has a core of its own; what puts the load on it, and a worker, has the other ones.
SERVER, OTHERS = {CORES[0]}, set(CORES[1:]) or {CORES[0]}

# What `ulimit -Hn` says: so many files, sockets included, a process may open.
FILES = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def raise_limits() -> None:
    """Let this process, and those it starts, have as many open files as they may."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


@contextlib.contextmanager
def pinned(cores: set[int]) -> Iterator[None]:
    """Processes started inside run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _uvicorn(app: str, env: dict[str, str]) -> WebServer:
    return uvicorn(app, env, "--log-level", "warning", loop="uvloop")


def _daphne(app: str, env: dict[str, str]) -> WebServer:
    return daphne(app, env, "-v", "0")


def _hypercorn(app: str, env: dict[str, str]) -> WebServer:
    def command(host: str, port: int) -> list[str]:
        return [sys.executable, "-m", "hypercorn", "-b", f"{host}:{port}", "-k", "uvloop", app]

    return WebServer("hypercorn", command, env)


def _granian(app: str, env: dict[str, str]) -> WebServer:
    def command(host: str, port: int) -> list[str]:
        # asginl: ASGI without lifespan events, which Channels' router does not know.
        kind = ["--interface", "asginl", "--loop", "uvloop", "--log-level", "warning"]
        return [sys.executable, "-m", "granian", *kind, "--host", host, "--port", str(port), app]

    return WebServer("granian", command, env)


SERVERS: dict[str, Callable[[str, dict[str, str]], WebServer]] = {
    "daphne": _daphne,
    "uvicorn": _uvicorn,
    "hypercorn": _hypercorn,
    "granian": _granian,
}


def server(kind: str, env: dict[str, str]) -> WebServer:
    """A server of the project in ``benchmarks/site``: one process, on uvloop where it can."""
    return SERVERS[kind](APP, {**env, **SETTINGS})


@contextlib.asynccontextmanager
async def running(*processes: Process, cores: set[int]) -> AsyncIterator[None]:
    """They run inside, on these cores; what they have to say of their end is no concern of a benchmark."""
    try:
        with pinned(cores):
            for process in processes:
                await process.start()
        yield
    finally:
        for process in processes:
            if process.running:
                everybody = family(process.pid)
                process.kill9()
                await process.wait()
                for child in everybody[1:]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGKILL)


@contextlib.asynccontextmanager
async def alone(kind: str, **env: str) -> AsyncIterator[WebServer]:
    """A server with the in-memory layer, on its core."""
    process = server(kind, env)
    async with running(process, cores=SERVER):
        yield process


@contextlib.asynccontextmanager
async def broker() -> AsyncIterator[Broker]:
    """A Valkey, on the cores that are not the server's."""
    process = valkey(appendonly="no")
    async with running(process, cores=OTHERS):
        yield process


@contextlib.asynccontextmanager
async def together(*kinds: str, channel: str) -> AsyncIterator[list[WebServer]]:
    """Servers, and a worker, on one Valkey: the first server has its core, all else has the others."""
    async with broker() as redis:
        first, *others = [server(kind, redis.env) for kind in kinds]
        working = worker(channel, env={**redis.env, **SETTINGS})
        async with running(first, cores=SERVER), running(*others, working, cores=OTHERS):
            yield [first, *others]


@contextlib.asynccontextmanager
async def site(kind: str, channel: str, layer: str = "core") -> AsyncIterator[WebServer]:
    """A server on one core and a worker on another; the Valkey is where there is room."""
    async with valkey(appendonly="no") as redis:
        env = {**redis.env, "LAYER": layer, **SETTINGS}
        serving, working = server(kind, env), worker(channel, env=env)
        async with running(serving, cores=SERVER), running(working, cores=OTHERS):
            yield serving
