"""The load generator: a C program, compiled when it is first needed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from benchmarks.gauges import cpu_seconds

_SOURCE = Path(__file__).with_name("generator.c")
_WARM_UP = 1.0

Measured = dict[str, float]
Option = float | str


@functools.cache
def binary() -> Path:
    """The compiled program. Raises `RuntimeError` where there is no C compiler."""
    source = _SOURCE.read_bytes()
    target = Path(tempfile.gettempdir()) / f"django-hub-generator-{hashlib.sha256(source).hexdigest()[:16]}"
    if not target.exists():
        compiler = os.environ.get("CC", "cc")
        if shutil.which(compiler) is None:
            raise RuntimeError(f"The load generator is written in C, and there is no {compiler}; set CC.")
        fresh = target.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, "-O2", "-Wall", "-o", fresh, _SOURCE], check=True)
        fresh.rename(target)
    return target


async def generate(
    port: int,
    path: str,
    kind: str,
    cores: set[int],
    load: Mapping[str, Option],
    *servers: int,
) -> Measured:
    """Put one load on a server, and return what was measured (see the head of ``generator.c``).

    With the pid of the server, also the processor time it used for each delivery (``cpu_us``) and for
    each round (``round_cpu_us``); with those of others behind it, what all used (``all_round_cpu_us``).
    """
    warmup = min(_WARM_UP, float(load.get("seconds", _WARM_UP)))
    process = await _start(port, path, kind, cores, {"warmup": warmup, **load})
    lines, used = [], []
    async for line in _lines(process):
        lines.append(line)
        used.append([cpu_seconds(server) for server in servers])
    await _ended(process)
    measured: Measured = json.loads(lines[-1])
    if servers:
        # At the line "measuring", and at the end.
        us = [(after - before) * 1e6 for before, after in zip(*used, strict=True)]
        frames, rounds = max(measured["frames"], 1), max(measured["rounds"], 1)
        measured |= {
            "cpu_us": us[0] / frames,
            "round_cpu_us": us[0] / rounds,
            "all_round_cpu_us": sum(us) / rounds,
        }
    return measured


@contextlib.asynccontextmanager
async def held(port: int, path: str, cores: set[int], clients: int) -> AsyncIterator[None]:
    """Inside, clients are connected, and read what comes."""
    process = await _start(port, path, "hold", cores, {"clients": clients})
    async for _ in _lines(process):
        break
    else:
        await _ended(process)
    try:
        yield
    finally:
        process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def trivial_server(port: int, cores: set[int], clients: int) -> AsyncIterator[int]:
    """The generator's own server; gives its pid."""
    process = await _start(port, "/", "serve", cores, {"clients": clients})
    try:
        async with asyncio.timeout(5):
            while not await _listens(port):  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        await process.communicate()


async def _listens(port: int) -> bool:
    table = await asyncio.to_thread(Path("/proc/net/tcp").read_text)
    return any(f":{port:04X} 00000000:0000 0A" in line for line in table.splitlines())


async def _start(
    port: int, path: str, kind: str, cores: set[int], load: Mapping[str, Option]
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        binary(),
        *(str(port), path, kind, *(f"{name}={value}" for name, value in load.items())),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=functools.partial(os.sched_setaffinity, 0, cores),
    )


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[bytes]:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        yield line


async def _ended(process: asyncio.subprocess.Process) -> None:
    _, error = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"The generator ended with {process.returncode}: {error.decode().strip()}")
