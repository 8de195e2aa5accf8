"""The live page of hubs in the admin, in a real browser."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.live import operators
from tests.live.chat import ChatClient
from tests.live.nginx import needs_nginx, nginx_command
from tests.live.operators import ESCAPED, NASTY, HallClient, Operator, log_of, prepared
from tests.live.servers import ROOT, Server, WebServer, daphne, eventually, uvicorn, valkey
from tests.live.site import UNIT

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "demo_project.asgi:application"


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return prepared(tmp_path_factory.mktemp("admin"))


@pytest_asyncio.fixture(loop_scope="module")
async def server(env: dict[str, str]) -> AsyncIterator[WebServer]:
    async with daphne(APP, env) as server:
        yield server
        # Django logs a refused page with a traceback of its own.
        refused = server.log().count("Forbidden (Permission denied)")
        assert len(server.complaints()) <= refused


async def logged_in(
    browser: Browser, server: Server, name: str, admin: str = "/admin/", **options: Any
) -> Page:
    page = await (await browser.new_context(**options)).new_page()
    page.set_default_timeout(20 * UNIT * 1000)
    await page.goto(f"http://{server.host}:{server.port}{admin}login/?next={admin}django_hub/hubs/")
    await page.fill("#id_username", name)
    await page.fill("#id_password", "pw")
    await page.click("[type=submit]")
    return page


async def test_an_operator_sees_and_acts(server: WebServer, browser: Browser) -> None:
    before = len(log_of(server.environment))
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
        await bob.say("hello")
        await page.locator("#events li", has_text="message").get_by_text("hello").wait_for()
        await page.fill("#broadcast textarea", json.dumps({"type": "said", "text": "from above"}))
        await page.select_option("#broadcast select", "json")
        await page.click("#broadcast button")
        await page.locator("#said", has_text="from above").wait_for()
        await ann.until(type="said", text="from above")
        await page.locator("#rows tbody tr", has_text="bob").get_by_role("button", name="Kick").click()
        await page.locator("#said", has_text="Kicked").wait_for()
        await page.locator("#rows tbody tr", has_text="bob").wait_for(state="detached")
        assert await page.locator("#cards svg.plot").count() == 6
    broadcast, kicked = log_of(server.environment)[before:]
    assert "from above" in broadcast[3]
    assert kicked == ("root", "garden", "garden", "Kicked 'bob'.")
    assert errors == []


async def drawn_anew(page: Page) -> None:
    """Twice: the first may have been on its way."""
    for _ in range(2):
        before = await page.locator("#status").text_content()

        async def it_is(before: str | None = before) -> bool:
            return await page.locator("#status").text_content() != before

        await eventually(it_is, 20 * UNIT)


async def test_a_redraw_costs_no_click_and_no_focus(server: WebServer, browser: Browser) -> None:
    page = await logged_in(browser, server, "root")
    page.on("dialog", lambda dialog: dialog.accept())
    async with ChatClient(server, "garden", "ann") as ann:
        link = page.locator("#rows a", has_text="garden")
        await link.focus()
        await drawn_anew(page)
        assert await page.evaluate("document.activeElement.textContent") == "garden"
        await page.keyboard.press("Enter")
        kick = page.locator("#rows tbody tr", has_text="ann").get_by_role("button", name="Kick")
        await kick.hover()
        await page.mouse.down()
        await drawn_anew(page)
        await page.mouse.up()
        await page.locator("#said", has_text="Kicked 'ann'.").wait_for()
        assert await ann.closed() == 4403
        # And without a press the rows are drawn: she is gone.
        await page.locator("#none", has_text="There is no such hub now.").wait_for()


async def test_what_is_of_another_day_has_its_date(server: WebServer, browser: Browser) -> None:
    page = await logged_in(browser, server, "root")
    async with ChatClient(server, "garden", "ann"):
        await page.click("#rows a:has-text('garden')")
        since = page.locator("#rows tbody tr", has_text="ann").locator("td").nth(3)
        year = await page.evaluate("String(new Date().getFullYear())")
        assert year not in (await since.text_content() or "")
        await page.clock.set_fixed_time(time.time() + 3 * 86_400)
        await since.get_by_text(year).wait_for()


@pytest.mark.heavy
async def test_it_is_said_that_the_broker_is_away(env: dict[str, str], browser: Browser) -> None:
    """Since when, to who looks; and to who opens the page then, and can't even get in."""
    async with valkey() as broker, operated(env, **broker.env) as server:
        page = await logged_in(browser, server, "root")
        await page.locator("#status[data-state=online]", has_text="as of").wait_for()
        await broker.stop()
        status = page.locator("#status[data-state=waiting]")
        await status.filter(has_text="is the broker there?").wait_for()
        assert (await status.text_content() or "").startswith("Nothing new since ")
        assert await page.locator("#rows", has_text="django_hub.admin").count() == 1
        late = await logged_in(browser, server, "root")
        await late.locator("#status", has_text="Nothing comes; is the broker there?").wait_for()
        await broker.start()
        for each in (page, late):
            await each.locator("#status[data-state=online]", has_text="as of").wait_for()


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


# A site of any names


def operated(env: dict[str, str], *options: str, **more: str) -> WebServer:
    return daphne(operators.APP, env | more, *options)


@pytest.mark.heavy
async def test_all_by_name(env: dict[str, str], browser: Browser) -> None:
    names = [f"hall {number:02}" for number in range(60)]
    async with operated(env) as server, AsyncExitStack() as stack:
        for name in reversed(names):
            await stack.enter_async_context(HallClient(server, name, "ann"))
        await stack.enter_async_context(HallClient(server, "hall 30", "bob"))
        page = await logged_in(browser, server, "root")
        rows = page.locator("#rows tbody tr a")

        async def shows(*wanted: str) -> None:
            async def it_does() -> bool:
                assert await rows.all_text_contents() == list(wanted)
                return True

            await eventually(it_does)

        await page.locator("#rest", has_text="These are the busiest; there are 11 more.").wait_for()
        assert await rows.first.text_content() == "hall 30"
        assert not await page.locator("#next").is_visible()
        await page.click("#by-name")
        # The page's own hub is one of them, and the first.
        await shows("django_hub.admin", *names[:49])
        assert not await page.locator("#first").is_visible()
        await page.click("#next")
        await shows(*names[49:])
        assert not await page.locator("#next").is_visible()
        await page.click("#first")
        await shows("django_hub.admin", *names[:49])
        await page.fill("#find input", "hall 5")
        await shows(*names[50:])
        assert not await page.locator("#busiest").is_visible()
        await page.fill("#find input", "")
        await page.click("#busiest")
        await page.locator("#rest", has_text="11 more").wait_for()
        assert await rows.first.text_content() == "hall 30"


@pytest.mark.heavy
async def test_dead_letters_by_their_buttons(env: dict[str, str], browser: Browser) -> None:
    async with operated(env) as server, HallClient(server, "letters", "ann") as ann:
        page = await logged_in(browser, server, "root")
        asked: list[str] = []

        async def accept(dialog: Any) -> None:
            asked.append(dialog.message)
            await dialog.accept()

        await page.click("#rows a:has-text('letters')")
        for number in range(4):
            await ann.say(f"bad {number}")
        letters = page.locator("#dead tbody tr")

        async def are(*wanted: str) -> None:
            async def they_are() -> bool:
                found = await letters.locator("td:nth-child(2)").all_text_contents()
                assert found == [f"message ann bad {number}" for number in wanted]
                return True

            await eventually(they_are)

        await are("3", "2", "1", "0")
        drop = letters.filter(has_text="bad 2").first.get_by_role("button", name="Drop")
        page.once("dialog", lambda dialog: dialog.dismiss())
        await drop.click()
        page.on("dialog", accept)
        await drop.click()
        await page.locator("#said", has_text="Dead letters dropped: 1.").wait_for()
        await are("3", "1", "0")
        await ann.say("mend")
        await letters.filter(has_text="bad 1").first.get_by_role("button", name="Retry").click()
        await ann.hears("bad 1")
        await are("3", "0")
        await page.click("#dead button[data-action=retry]")
        await ann.hears("bad 3")
        await page.locator("#dead").wait_for(state="hidden")
        assert asked == [
            "Drop this dead letter for good?\nmessage ann bad 2",
            "retry all dead letters of this hub?",
        ]
        await page.click(".historylink")
        assert await page.get_by_text("Dead letters put back into the mailbox: 2.").count() == 1


@pytest.mark.heavy
async def test_hostile_names_in_the_page(env: dict[str, str], browser: Browser) -> None:
    async with operated(env) as server:
        user = await Operator.come(server, NASTY)
        cookie = {"Cookie": user.cookie}
        async with HallClient(server, NASTY, NASTY, {"k": NASTY}, additional_headers=cookie) as ann:
            page = await logged_in(browser, server, "root")
            asked: list[str] = []
            page.on("pageerror", lambda error: asked.append(str(error)))

            async def accept(dialog: Any) -> None:
                asked.append(dialog.message)
                await dialog.accept("hi" if dialog.type == "prompt" else None)

            page.on("dialog", accept)
            await page.locator("#rows a", has_text="<img").click()
            row = page.locator("#rows tbody tr")
            await row.locator("td:nth-child(2)", has_text=ESCAPED).wait_for()
            await ann.say(NASTY)
            await ann.say(f"bad {NASTY}")
            await page.locator("#events li", has_text="message").locator("span.code").last.wait_for()
            await page.locator("#dead td", has_text="ValueError: it is bad <img").wait_for()
            await row.get_by_role("button", name="Send").click()
            await ann.hears("hi")
            text = await page.locator("body").inner_text()
            # Name, client, user, meta, event, letter: each as it is, but for what can't be seen.
            assert text.count("<img src=x onerror=alert(1)>") >= 8
            await row.get_by_role("button", name="Kick").click()
            assert await ann.closed() == 4403
            await page.locator("#said", has_text="Kicked").wait_for()
            text += await page.title() + await page.locator("body").inner_text() + "".join(asked)
            assert not set("\x1b\u202e\r") & set(text)
            assert len(asked) == 2
            assert await page.locator("#content img, .breadcrumbs img").count() == 0


async def test_it_is_said_where_the_route_is_missing(env: dict[str, str], browser: Browser) -> None:
    async with operated(env, SOCKET="-") as server:
        page = await logged_in(browser, server, "root")
        await page.locator("#no-route").wait_for()
        text = await page.locator("#no-route").inner_text()
        assert "no websocket answered at /ws/django_hub/admin/" in text
        assert "from django_hub.routing import websocket_urlpatterns as hubs_admin" in text
        await page.locator("#status[data-state=closed]", has_text="Not live").wait_for()


async def test_it_is_live_behind_a_function_that_routes(env: dict[str, str], browser: Browser) -> None:
    """Which can't be looked into: the page tries."""
    async with operated(env, SOCKET="()") as server:
        page = await logged_in(browser, server, "root")
        await page.locator("#status[data-state=online]", has_text="as of").wait_for()
        assert not await page.locator("#no-route").is_visible()


class Below(Server):
    """nginx, which takes ``/deep`` off the paths that it hands on."""

    def __init__(self, folder: Path, server: WebServer) -> None:
        super().__init__("nginx")
        self._folder, self._server = folder, server

    def command(self) -> list[str]:
        return nginx_command(
            self._folder,
            f"""server {{
                listen {self.host}:{self.port};
                location /deep/ {{
                    proxy_pass http://{self._server.host}:{self._server.port}/;
                    proxy_http_version 1.1;
                    proxy_set_header Host $http_host;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection upgrade;
                }}
                types {{ text/javascript js; text/css css; }}
                location /static/ {{ alias {ROOT}/django_hub/static/; }}
            }}""",
        )


async def lives_below(browser: Browser, server: Server) -> None:
    page = await logged_in(browser, server, "root", "/deep/admin/")
    await page.locator("#status[data-state=online]", has_text="as of").wait_for()
    await page.click("#rows a:has-text('django_hub.admin')")
    await page.locator("#rows tbody").get_by_role("button", name="Kick").wait_for()
    await page.fill("#broadcast textarea", "hi")
    await page.click("#broadcast button")
    await page.locator("#said", has_text="Broadcast: hi").wait_for()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("options", "more"),
    [
        # The server knows it, and the router takes it off.
        (["--root-path", "/deep"], {}),
        # Only Django knows it: the project's own routes have it, too.
        ([], {"SCRIPT_NAME": "/deep", "SOCKET": "deep/"}),
    ],
    ids=["root_path", "FORCE_SCRIPT_NAME"],
)
async def test_below_a_path(
    env: dict[str, str], browser: Browser, options: list[str], more: dict[str, str]
) -> None:
    async with operated(env, *options, **more) as server:
        await lives_below(browser, server)


@pytest.mark.heavy
@needs_nginx
async def test_below_a_path_that_a_proxy_takes_off(
    env: dict[str, str], browser: Browser, tmp_path: Path
) -> None:
    """Django's own pages want a server that puts it back."""
    server = uvicorn(operators.APP, env, "--root-path", "/deep")
    async with server, Below(tmp_path, server) as below:
        await lives_below(browser, below)


# How it looks

CONTRAST = """() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = rgb(getComputedStyle(element).backgroundColor);
      if (color[3] === undefined || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("#content *, .breadcrumbs *")) {
    const says = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!says || !element.checkVisibility()) continue;
    const pair = [rgb(getComputedStyle(element).color), behind(element)].map(light).sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < 4.5) poor.push(`${element.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
WIDER = """() => document.documentElement.scrollWidth - document.documentElement.clientWidth"""


@pytest.mark.heavy
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_and_can_be_read(env: dict[str, str], browser: Browser, scheme: str) -> None:
    """On a desk and on a phone, with names as long as they may be, dead letters, and what went wrong."""
    name = "w" * 200
    async with operated(env) as server, HallClient(server, name, name, {"k": name}) as ann:
        page = await logged_in(browser, server, "root", color_scheme=scheme)
        hub = f"/admin/django_hub/hubs/?hub={name}"
        await ann.say(f"bad {name}")
        for width in (1280, 390):
            await page.set_viewport_size({"width": width, "height": 800})
            for path in ("/admin/django_hub/hubs/", hub):
                await page.goto(server.http_url(path))
                await page.locator("#rows tbody tr", has_text=name).wait_for()
                assert await page.evaluate(WIDER) == 0, f"{path} at {width}"
                assert await page.evaluate(CONTRAST) == []
            await page.locator("#dead td", has_text="ValueError").wait_for()
            await ann.say("good")
            await page.locator("#events li", has_text="good").first.wait_for()
            await page.fill("#broadcast textarea", "{")
            await page.select_option("#broadcast select", "json")
            await page.click("#broadcast button")
            await page.locator("#said.failed", has_text="It is no JSON").wait_for()
            assert await page.evaluate(WIDER) == 0, f"one hub at {width}"
            assert await page.evaluate(CONTRAST) == []
