"""What is measured inside of one process: that is ``python -m benchmarks.inside NAME JSON``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import stage
from benchmarks.generator import Measured, Option


async def inside(name: str, *, redis: bool, **options: Option) -> Measured:
    """What the function of that name measures in a process of its own, with a Valkey or in memory."""
    async with contextlib.AsyncExitStack() as stack:
        env = {**os.environ, **stage.SETTINGS}
        env.pop("REDIS_URL", None)
        if redis:
            env |= (await stack.enter_async_context(stage.broker())).env
        with stage.pinned(stage.SERVER):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.inside", name, json.dumps(options)),
                env=env,
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
            )
        out, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    measured: Measured = json.loads(out)
    return measured
