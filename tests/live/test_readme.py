"""The README's example, written out as it stands there, and run."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
import websockets

from tests.live.servers import MS, WebServer
from tests.pages import ROOT, block_after, write_files

README = "README.md"


@pytest.fixture
def site(tmp_path: Path) -> dict[str, str]:
    """The README's project, written out; the environment of its processes."""
    assert len(write_files(README, tmp_path, "mysite")) == 5
    return {"PYTHONPATH": f"{tmp_path}:{ROOT}", "DJANGO_SETTINGS_MODULE": "mysite.settings"}


def django(command: list[str], folder: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", *command],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_the_example_runs_as_it_stands(site: dict[str, str], tmp_path: Path) -> None:
    async def talk() -> None:
        async with (
            asyncio.timeout(20_000 * MS),
            WebServer("daphne", example, site) as server,
            websockets.connect(server.ws_url("/ws/garden/")) as client,
        ):
            ((word, name),) = json.loads(await client.recv()).items()
            assert word == "welcome"
            await client.send("hello")
            assert json.loads(await client.recv()) == {"from": name, "said": "hello"}
            other = await websockets.connect(server.ws_url("/ws/garden/"))
            other_name = json.loads(await other.recv())["welcome"]
            await other.close()
            assert json.loads(await client.recv()) == {"gone": other_name, "why": "close"}
        assert server.complaints() == []

    asyncio.run(talk())
    django(["check", "--fail-level", "WARNING"], tmp_path, site)


def test_the_first_test_runs_as_it_stands(site: dict[str, str], tmp_path: Path) -> None:
    assert "Ran 1 test" in django(["test"], tmp_path, site)


def example(host: str, port: int) -> list[str]:
    return [sys.executable, "-m", "daphne", "-b", host, "-p", str(port), "mysite.asgi:application"]


def test_the_example_for_code_that_blocks_runs_as_it_stands() -> None:
    names: dict[str, object] = {}
    exec(block_after(README, "a view or a task for instance"), names)
    assert names["names"] == []
