"""Metrics of several processes as one, and health when the broker goes: real servers and a worker."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.live.servers import WebServer, eventually
from tests.live.site import PATIENCE, UNIT, Start, said, talk

TOKEN = "for-the-tests"


async def get(server: WebServer, path: str) -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        request = urllib.request.Request(
            server.http_url(path), headers={"Authorization": f"Bearer {TOKEN}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    return await asyncio.to_thread(ask)


async def values(server: WebServer, series: str) -> float:
    """The sum of all series that begin so."""
    status, text = await get(server, "/hub/metrics")
    assert status == 200, text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(series))


@pytest.mark.heavy
async def test_two_servers_and_a_worker_are_added_up(
    start: Start, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setenv("URLCONF", "tests.live.watched")
    site = await start(workers=1, METRICS=True, METRICS_TOKEN=TOKEN)
    first, second = site.servers
    people = [await site.enter(site.servers[number % 2], "room", f"c{number}") for number in range(5)]
    await talk(people[0], 3)
    await said(people[1], 3)
    for server in site.servers:

        async def has_all(server: WebServer = server) -> bool:
            assert await values(server, "django_hub_clients ") == 5
            assert await values(server, "django_hub_messages_received_total") == 3
            handled = 'django_hub_events_total{channel="chat-events",kind="message"}'
            assert await values(server, handled) == 3
            took = 'django_hub_handler_seconds_count{channel="chat-events",kind="message"}'
            assert await values(server, took) == 3
            return True

        await eventually(has_all, timeout=10 * UNIT)
    sent = await values(first, "django_hub_messages_sent_total")
    assert sent >= 3 * 5

    # Without a worker what is said waits, and each server's scrape says for how long.
    (worker,) = site.workers
    worker.kill9()
    await worker.wait()
    await talk(people[0], 1)
    for server in site.servers:

        async def waits(server: WebServer = server) -> bool:
            assert await values(server, "django_hub_mailbox_events ") == 1
            assert await values(server, "django_hub_mailbox_oldest_seconds ") > 0.1
            return True

        await eventually(waits, timeout=10 * UNIT)
    await worker.start()
    await said(people[1], 1)

    second.kill9()
    await second.wait()

    async def without_the_dead() -> bool:
        assert await values(first, "django_hub_clients ") == 3
        assert await values(first, 'django_hub_leaves_total{reason="lost"}') == 2
        assert await values(first, "django_hub_messages_sent_total") >= sent, "what it did stays counted"
        return True

    await eventually(without_the_dead, timeout=20 * UNIT)


@pytest.mark.heavy
async def test_a_server_is_ready_again_when_the_broker_is_back(start: Start, monkeypatch: Any) -> None:
    monkeypatch.setenv("URLCONF", "tests.live.watched")
    site = await start(workers=0)
    idle, serving = site.servers

    async def ready(server: WebServer) -> dict[str, Any]:
        status, text = await get(server, "/hub/health/ready")
        answer: dict[str, Any] = json.loads(text)
        assert (status == 200) is answer["ready"]
        return answer

    async def both(expected: bool) -> bool:
        return [(await ready(server))["ready"] for server in site.servers] == [expected] * 2

    assert await both(True)
    await site.broker.stop()
    await eventually(lambda: both(False), timeout=10 * UNIT)
    assert (await get(idle, "/hub/health/live"))[0] == 200
    await site.broker.start()
    await eventually(lambda: both(True), timeout=20 * UNIT)
    assert (await ready(serving))["relay"] == "idle"
