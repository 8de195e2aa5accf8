"""The views for those who watch: what they say, and to whom."""

import asyncio
import json
import math
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.urls import include, path

from django_hub import health as health_module
from django_hub import metrics, views
from django_hub.exceptions import Unavailable
from django_hub.tallies import tallies
from tests.apps import World
from tests.apps import world as world
from tests.sockets import until

urlpatterns = [path("hub/", include("django_hub.urls"))]


@pytest.fixture(autouse=True)
def measured(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.test_views"
    metrics.start()
    yield
    metrics.stop()


async def get(view: Any, user: Any = None, **headers: str) -> Any:
    request = AsyncRequestFactory().get("/", headers=headers)
    if user is not None:

        async def auser() -> Any:
            return user

        request.auser = auser
    return await view(request)


async def test_alive_is_all_it_says() -> None:
    answer = await get(views.live)
    assert (answer.status_code, json.loads(answer.content)) == (200, {"alive": True})
    assert "no-store" in answer["Cache-Control"]


async def test_ready_without_and_with_clients(world: World) -> None:
    answer = await get(views.ready)
    assert answer.status_code == 200
    assert json.loads(answer.content) == {
        "ready": True,
        "store": "ok",
        "layer": "ok",
        "relay": "idle",
        "pump_lag": None,
        "deaf_since": None,
    }
    await world.join("ann")
    health_module._probes.clear()
    answer = await get(views.ready)
    assert json.loads(answer.content)["relay"] == "hears"
    assert b"ann" not in answer.content


async def test_a_store_that_is_away_is_not_ready(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away() -> str:
        raise Unavailable("gone")

    monkeypatch.setattr(world.store, "epoch", away)
    answer = await get(views.ready)
    assert answer.status_code == 503
    assert json.loads(answer.content)["store"] == "unreachable"


async def test_who_hears_nothing_is_not_ready_and_says_since_when(world: World) -> None:
    await world.join("ann")
    hearing = world.relay.hearing
    hearing.silent_since = time.monotonic() - 100
    answer = await get(views.ready)
    hearing.excuse()
    said = json.loads(answer.content)
    assert (answer.status_code, said["relay"]) == (503, "deaf")
    assert said["deaf_since"] > 1e9


async def test_who_sends_its_clients_elsewhere_is_not_ready(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"DRAIN": 0.01}
    ann = await world.join("ann")
    await world.relay.drain()
    answer = await get(views.ready)
    assert (answer.status_code, json.loads(answer.content)["relay"]) == (503, "draining")
    ann.disconnect()


async def test_however_many_ask_it_asks_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def epoch() -> str:
        asked.append(1)
        return "e"

    monkeypatch.setattr(world.store, "epoch", epoch)
    answers = await asyncio.gather(*(get(views.ready) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(asked) == 1
    await get(views.ready)
    assert len(asked) == 1, "what was found counts for a while"


def test_under_wsgi_they_answer_too() -> None:
    client = Client()
    assert client.get("/hub/health/live").json() == {"alive": True}
    assert client.get("/hub/health/ready").json()["store"] == "ok"
    assert client.post("/hub/health/ready").status_code == 405


STAFF = SimpleNamespace(is_active=True, is_staff=True)


async def test_metrics_are_for_staff_or_for_the_token(settings: Any) -> None:
    settings.DJANGO_HUB = {"METRICS": True, "METRICS_TOKEN": "secret"}
    assert (await get(views.metrics)).status_code == 403
    assert (await get(views.metrics, SimpleNamespace(is_active=True, is_staff=False))).status_code == 403
    assert (await get(views.metrics, authorization="Bearer")).status_code == 403
    assert (await get(views.metrics, authorization="Bearer other")).status_code == 403
    assert (await get(views.metrics, authorization="Bearer secret")).status_code == 200
    answer = await get(views.metrics, STAFF)
    assert b"django_hub_clients 0.0" in answer.content


async def test_no_token_is_nobodys(settings: Any) -> None:
    settings.DJANGO_HUB = {"METRICS": True}
    assert (await get(views.metrics, authorization="Bearer ")).status_code == 403


def test_metrics_that_are_off_are_not_there() -> None:
    request = RequestFactory().get("/")
    with pytest.raises(views.Http404):
        asyncio.run(views.metrics(request))


async def test_a_scrape_says_what_happened(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"METRICS": True}
    before = value((await get(views.metrics, STAFF)).content.decode(), 'django_hub_joins_total{kind="new"}')
    ann = await world.join("ann")
    ann.send_nowait("hi")
    await until(lambda: any(told[0] == "message" for told in world.told()))
    await world.settled()
    text = (await get(views.metrics, STAFF)).content.decode()
    assert value(text, 'django_hub_joins_total{kind="new"}') == before + 1
    assert value(text, "django_hub_clients") == 1
    assert value(text, "django_hub_hubs") == 1
    assert value(text, "django_hub_mailbox_events") == 0
    assert "django_hub_handler_seconds_bucket" in text
    assert "lobby" not in text
    assert tallies.publish is not None


async def test_a_scrape_says_how_long_the_oldest_event_waits(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"METRICS": True}
    oldest, free = "django_hub_mailbox_oldest_seconds", asyncio.Event()

    async def hold(event: Any) -> None:
        await free.wait()

    world.desk.handler = hold
    await world.open_member("ann")
    first = await until(lambda: scraped(oldest))

    async def is_older() -> bool:
        return await scraped(oldest) > first

    await until(is_older)
    assert await scraped("django_hub_mailbox_events") == 1
    free.set()
    await world.settled()
    assert await scraped(oldest) == 0


@pytest.mark.parametrize("how", ["away", "hangs"])
async def test_what_waits_is_no_number_while_the_store_does_not_say(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Neither what it was, nor 0; and all else is there in time."""
    settings.DJANGO_HUB = {"METRICS": True}
    monkeypatch.setattr(views, "_PATIENCE", 0.05)
    await world.open_member("ann")
    await world.settled()
    assert await scraped("django_hub_mailbox_events") == 0

    async def with_mail(**_: Any) -> list[str]:
        if how == "hangs":
            await asyncio.Event().wait()
        raise Unavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(world.store, "with_mail", with_mail)
        text = (await get(views.metrics, STAFF)).content.decode()
    for series in ("hubs", "events", "events_max", "oldest_seconds"):
        assert math.isnan(value(text, f"django_hub_mailbox_{series}"))
    assert value(text, "django_hub_clients") == 1
    assert await scraped("django_hub_mailbox_events") == 0


def test_what_waits_is_no_number_before_anybody_asked() -> None:
    """As for who exports them without our view."""
    metrics.waiting([])
    metrics.stop()
    metrics.start()
    assert math.isnan(value(metrics.exposition().decode(), "django_hub_mailbox_events"))


async def scraped(series: str) -> float:
    return value((await get(views.metrics, STAFF)).content.decode(), series)


def value(text: str, series: str) -> float:
    found = [line for line in text.splitlines() if line.startswith(f"{series} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0
