"""The view of docs/promises.md, on a broker that answers and then does not."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE

import pytest

from tests.live.servers import MS, ROOT, valkey

pytestmark = [pytest.mark.live, pytest.mark.broker]

PAGE = (ROOT / "docs/promises.md").read_text().split("## While the broker is away")[1]
(VIEW,) = re.findall(r"```python\n(.*?)```", PAGE.split("\n## ")[0], re.DOTALL)

PROGRAM = f"""
import django
django.setup()
{VIEW}
async def both():
    print(await tell("news", "here", 20), flush=True)
    input()
    print(await tell("news", "away", 0.2), flush=True)

asyncio.run(both())
"""


async def test_a_view_waits_no_longer_than_it_says() -> None:
    async with valkey() as broker:
        env = {**os.environ, **broker.env, "DJANGO_SETTINGS_MODULE": "demo_project.settings"}
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, cwd=ROOT, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert program.stdin is not None
        assert program.stdout is not None
        assert await program.stdout.readline() == b"True\n"
        broker.signal(signal.SIGSTOP)
        try:
            # By itself it would wait for 30 seconds.
            async with asyncio.timeout(10_000 * MS):
                rest, told = await program.communicate(b"\n")
        finally:
            broker.signal(signal.SIGCONT)
            if program.returncode is None:
                program.kill()
    assert rest == b"False\n"
    assert b"Traceback" not in told
