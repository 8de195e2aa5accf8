"""The live page of hubs in the admin, in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.live.browsing import chromium, launched
from tests.live.chat import ChatClient
from tests.live.servers import ROOT, SCRUBBED, WebServer, daphne, eventually

APP = "demo_project.asgi:application"
NASTY = "<img src=x onerror=alert(1)>&'"


def settled(env: dict[str, str]) -> dict[str, str]:
    """This environment without what the tests themselves run in."""
    return {name: value for name, value in os.environ.items() if name not in SCRUBBED} | env


def manage(env: dict[str, str], *words: str) -> None:
    environment = settled(env)
    subprocess.run(
        [sys.executable, "manage.py", *words], cwd=ROOT, env=environment, check=True, capture_output=True
    )


def prepared(folder: Path) -> dict[str, str]:
    """A database with an operator, and one of the staff who may see nothing."""
    env = {"DATABASE": str(folder / "db.sqlite3")}
    manage(env, "migrate", "-v0")
    make = (
        "from django.contrib.auth.models import User;"
        "User.objects.create_superuser('root', password='pw');"
        "User.objects.create_user('clerk', password='pw', is_staff=True)"
    )
    manage(env, "shell", "-c", make)
    return env


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prepared(tmp_path_factory.mktemp("admin"))


@pytest.fixture
async def server(env: dict[str, str]) -> AsyncIterator[WebServer]:
    async with daphne(APP, env) as server:
        yield server
        # Django logs a refused page with a traceback of its own.
        refused = server.log().count("Forbidden (Permission denied)")
        assert len(server.complaints()) <= refused


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if chromium() is None:
        pytest.skip("no chromium here (Debian's package of that name)")
    async with launched() as browser:
        yield browser


async def logged_in(browser: Browser, server: WebServer, name: str, **options: Any) -> Page:
    page = await (await browser.new_context(**options)).new_page()
    await page.goto(server.http_url("/admin/login/?next=/admin/django_hub/hubs/"))
    await page.fill("#id_username", name)
    await page.fill("#id_password", "pw")
    await page.click("[type=submit]")
    return page


def log_of(env: dict[str, str]) -> str:
    query = (
        "from django.contrib.admin.models import LogEntry as L;"
        "print([(e.user.username, e.object_id, e.change_message) for e in L.objects.all()])"
    )
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", query],
        cwd=ROOT,
        env=settled(env),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


async def test_an_operator_sees_and_acts(server: WebServer, browser: Browser) -> None:
    errors: list[str] = []
    page = await logged_in(browser, server, "root")
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: dialog.accept("psst" if dialog.type == "prompt" else None))
    async with ChatClient(server, "garden", "ann") as ann, ChatClient(server, "garden", "bob") as bob:
        await ann.until(type="joined", client="bob")
        row = page.locator("#rows tbody tr", has_text="garden")
        await row.wait_for()
        await row.locator("td.number", has_text="2").first.wait_for()
        await page.fill("#find input", "gar")
        await row.wait_for()
        await page.fill("#find input", "nothing")
        await page.locator("#none").wait_for()
        await page.fill("#find input", "")
        await row.locator("a").click()
        ann_row = page.locator("#rows tbody tr", has_text="ann")
        await ann_row.get_by_text("127.0.0.1").wait_for()
        await bob.say(NASTY)
        line = page.locator("#events li", has_text="message")
        await line.get_by_text(NASTY).wait_for()
        assert await page.locator("#events img").count() == 0
        await page.fill("#broadcast textarea", json.dumps({"type": "said", "text": "from above"}))
        await page.select_option("#broadcast select", "json")
        await page.click("#broadcast button")
        await page.locator("#said", has_text="from above").wait_for()
        await ann.until(type="said", text="from above")
        await page.locator("#rows tbody tr", has_text="bob").get_by_role("button", name="Kick").click()
        await page.locator("#said", has_text="Kicked").wait_for()
        await page.locator("#rows tbody tr", has_text="bob").wait_for(state="detached")
        assert await page.locator("#cards svg.plot").count() == 6
    log = await asyncio.to_thread(log_of, server.environment)
    assert "('root', 'garden', \"Kicked 'bob'.\")" in log
    assert "from above" in log
    assert errors == []


async def test_staff_without_the_permission_sees_nothing(server: WebServer, browser: Browser) -> None:
    page = await logged_in(browser, server, "clerk")
    assert "403" in await page.title()
    closed = await page.evaluate(
        """() => new Promise(done => {
            const socket = new WebSocket(`ws://${location.host}/ws/django_hub/admin/`);
            socket.onclose = event => done(event.code);
        })"""
    )
    assert closed == 4403


async def test_nothing_stays_when_the_operator_is_gone(server: WebServer, browser: Browser) -> None:
    page = await logged_in(browser, server, "root")
    await page.locator("#status[data-state=online]", has_text="as of").wait_for()
    await page.locator("#rows", has_text="django_hub.admin").wait_for()
    waiting = page.locator("#rows tbody tr", has_text="django_hub.admin").locator("td").nth(5)

    async def none_waits() -> bool:
        return await waiting.text_content() == "0"

    # Its own joins are handled by nobody, and yet do not stay.
    await eventually(none_waits)
