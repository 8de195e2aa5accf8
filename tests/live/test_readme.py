"""The README's example, written out as it stands there, and run."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import websockets

from tests.live.servers import MS, ROOT, WebServer

README = (ROOT / "README.md").read_text()


def block_after(words: str) -> str:
    """The first block of Python behind these words."""
    found = re.search(re.escape(words) + r".*?```python\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no Python after {words!r}"
    return found[1]


def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    site = tmp_path / "mysite"
    site.mkdir()
    (site / "__init__.py").touch()
    for name in ("settings", "rooms", "asgi", "urls"):
        (site / f"{name}.py").write_text(block_after(f"`mysite/{name}.py`"))

    async def talk() -> None:
        env = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "DJANGO_SETTINGS_MODULE": "mysite.settings"}
        async with (
            asyncio.timeout(20_000 * MS),
            WebServer("daphne", example, env) as server,
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
    check = subprocess.run(
        [sys.executable, "-m", "django", "check", "--fail-level", "WARNING"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "DJANGO_SETTINGS_MODULE": "mysite.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert check.returncode == 0, check.stderr


def test_the_first_test_runs_as_it_stands(tmp_path: Path) -> None:
    site = tmp_path / "mysite"
    site.mkdir()
    (site / "__init__.py").touch()
    for name in ("settings", "rooms", "asgi", "urls", "tests"):
        (site / f"{name}.py").write_text(block_after(f"`mysite/{name}.py`"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "test"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "DJANGO_SETTINGS_MODULE": "mysite.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 1 test" in done.stderr


def example(host: str, port: int) -> list[str]:
    return [sys.executable, "-m", "daphne", "-b", host, "-p", str(port), "mysite.asgi:application"]


def test_the_example_for_code_that_blocks_runs_as_it_stands() -> None:
    names: dict[str, object] = {}
    exec(block_after("a view or a task for instance"), names)
    assert names["names"] == []
