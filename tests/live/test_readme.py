"""The README's example, written out as it stands there, and run."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import websockets
from websockets.typing import Origin

import django_hub
from tests.live.servers import MS, WebServer
from tests.pages import ROOT, block_after, write_files

README = "README.md"
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}
RUNSERVER = [sys.executable, "manage.py", "runserver", "--noreload"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What `django-admin startproject` makes, with the files of the README in their places."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", str(tmp_path)], check=True)
    assert len(write_files(README, tmp_path, "mysite")) == 5
    return tmp_path


def manage(project: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *command],
        cwd=project,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


async def test_the_example_runs_as_it_stands(project: Path) -> None:
    # The reloader's is a process of its own.
    example = WebServer("example", lambda host, port: [*RUNSERVER, f"{host}:{port}"], ENVIRONMENT)
    example.directory = project
    async with (
        asyncio.timeout(20_000 * MS),
        example as server,
        websockets.connect(server.ws_url("/ws/garden/"), origin=Origin("http://localhost")) as client,
    ):
        ((word, name),) = json.loads(await client.recv()).items()
        assert word == "welcome"
        await client.send("hello")
        assert json.loads(await client.recv()) == {"from": name, "said": "hello"}
        other = await websockets.connect(server.ws_url("/ws/garden/"), origin=Origin("http://localhost"))
        other_name = json.loads(await other.recv())["welcome"]
        await other.close()
        assert json.loads(await client.recv()) == {"gone": other_name, "why": "close"}

        def get(path: str) -> str:
            with urllib.request.urlopen(server.http_url(path)) as answer:
                return answer.read().decode()

        assert "<html" in await asyncio.to_thread(get, "/")
        (imported,) = re.findall(r'import .* from "(.*)"', (ROOT / README).read_text())
        script = (Path(django_hub.__file__).parent / "static/django_hub/hub.js").read_text()
        assert await asyncio.to_thread(get, imported) == script
    assert server.complaints() == []


def test_the_example_passes_the_checks(project: Path) -> None:
    manage(project, "check", "--fail-level", "WARNING")


def test_the_first_test_runs_as_it_stands(project: Path) -> None:
    assert "Ran 1 test" in manage(project, "test")


def test_the_example_for_code_that_blocks_runs_as_it_stands() -> None:
    names: dict[str, object] = {}
    exec(block_after(README, "a view or a task for instance"), names)
    assert names["names"] == []
