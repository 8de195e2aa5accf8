"""manage.py runworker as a developer uses it."""

import os
import signal
from pathlib import Path

import pytest

from tests.live.chat import ChatClient, RoomClient
from tests.live.servers import MS, ROOT, Broker, daphne, eventually, worker
from tests.live.site import UNIT, Site


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


@pytest.mark.heavy
async def test_it_ends_in_time_also_while_its_broker_hangs(broker: Broker) -> None:
    site = Site(broker, SHUTDOWN_GRACE=1.0 * UNIT)
    async with site.stack:
        server, stopping = await site.add_server(daphne), await site.add_worker()
        ann = await site.enter(server, "lobby", "ann", RoomClient)
        await ann.send({"type": "wait", "seconds": 0.3 * UNIT, "text": "to nobody yet"})
        await ann.until(type="begun")
        broker.signal(signal.SIGSTOP)
        try:
            stopping.signal(signal.SIGTERM)
            # redis-py notices after 15 seconds, and what was to be sent waits for 30.
            assert await stopping.wait(10 * UNIT) == 0
        finally:
            broker.signal(signal.SIGCONT)
