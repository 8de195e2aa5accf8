"""The load generator: a C program, compiled when it is first needed."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).with_name("generator.c")

Measured = dict[str, float]


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


async def generate(port: int, path: str, kind: str, cores: set[int], **options: float) -> Measured:
    """Put one load on a server, and return what was measured (see the head of ``generator.c``)."""
    words = [f"{name}={value}" for name, value in options.items()]
    process = await asyncio.create_subprocess_exec(
        binary(),
        *(str(port), path, kind, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=functools.partial(os.sched_setaffinity, 0, cores),
    )
    out, error = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"The generator ended with {process.returncode}: {error.decode().strip()}")
    measured: Measured = json.loads(out)
    return measured
