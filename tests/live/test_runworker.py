"""manage.py runworker as a developer uses it."""

import os
from pathlib import Path

import pytest

from tests.live.chat import ChatClient
from tests.live.servers import MS, ROOT, Broker, daphne, eventually, worker


@pytest.mark.heavy
async def test_it_starts_anew_when_code_changes_and_goes_on(broker: Broker, tmp_path: Path) -> None:
    code = tmp_path / "reloaded_settings.py"
    code.write_text("from demo_project.settings import *\n")
    env = {
        **broker.env,
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "DJANGO_SETTINGS_MODULE": "reloaded_settings",
    }
    async with (
        daphne("demo_project.asgi:application", broker.env) as server,
        worker("--reload", env=env) as reloading,
        ChatClient(server, "lobby", "ann") as ann,
    ):
        await ann.until(type="members")

        def starts() -> int:
            return reloading.log().count("Running worker")

        def changed() -> bool:
            # Again and again: the reloader takes a second until it looks.
            later = code.stat().st_mtime + 1
            os.utime(code, (later, later))
            return starts() > 1

        await eventually(changed, 20_000 * MS)
        await ann.say("hello")
        assert (await ann.until(type="said"))["text"] == "hello"
        assert reloading.complaints() == []
