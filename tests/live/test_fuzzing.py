"""Autobahn's test suite against a hub that echoes: what a client may send, and what it may not.

The suite is Python 2. ``DJANGO_HUB_WSTEST`` names its command, ``wstest``, which .ci/run installs.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.live.servers import WebServer, daphne, uvicorn

WSTEST = os.environ.get("DJANGO_HUB_WSTEST")

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.may_skip,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not WSTEST, reason="DJANGO_HUB_WSTEST does not name the command wstest"),
]

APP = "tests.live.echoes:application"
SERVERS = {
    "daphne": lambda: daphne(APP, None, "--verbosity", "0"),
    "uvicorn-sansio": lambda: uvicorn(APP, None, loop="uvloop"),
    "uvicorn-websockets": lambda: uvicorn(APP, ws="websockets"),
    "uvicorn-wsproto": lambda: uvicorn(APP, ws="wsproto"),
}
# Of compression (12, 13), which takes minutes, short and long messages; not the limits and speeds (9).
CASES = [*(f"{number}.*" for number in (1, 2, 3, 4, 5, 6, 7, 10)), "12.1.1", "12.1.6", "12.2.4", "13.3.2"]

# "NON-STRICT" depends on what comes first; a server need not have compression.
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[WebServer]:
    async with SERVERS[request.param]() as server:
        yield server


async def fuzz(server: WebServer, path: str, cases: list[str], out: Path) -> dict[str, dict[str, str]]:
    """What the suite says of each case."""
    target = {"agent": "it", "url": server.ws_url(path)}
    spec = out / "spec.json"
    spec.write_text(
        json.dumps({"outdir": str(out), "servers": [target], "cases": cases, "exclude-cases": []})
    )
    process = await asyncio.create_subprocess_exec(
        str(WSTEST),
        "--mode",
        "fuzzingclient",
        "--spec",
        spec,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, told.decode()
    said: dict[str, dict[str, str]] = json.loads((out / "index.json").read_text())["it"]
    return said


def bad(said: dict[str, dict[str, str]]) -> dict[str, tuple[str, str]]:
    verdicts = {case: (it["behavior"], it["behaviorClose"]) for case, it in said.items()}
    return {case: both for case, both in verdicts.items() if not GOOD.issuperset(both)}


async def test_a_hub_does_no_worse_than_its_server(server: WebServer, tmp_path: Path) -> None:
    said = await fuzz(server, "/hub/", CASES, tmp_path)
    assert len(said) > 240
    # uvicorn shows where it found invalid UTF-8.
    invalid = server.log().count("Invalid UTF-8 sequence received")
    assert len(server.complaints()) == invalid
    worse = bad(said)
    if worse:
        servers_own = bad(await fuzz(server, "/bare/", list(worse), tmp_path))
        worse = {case: both for case, both in worse.items() if case not in servers_own}
    assert worse == {}
