"""The JavaScript of the docs, run in a browser against the hub that its page shows."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser

from tests.live.browsing import PATIENCE
from tests.live.servers import daphne, eventually
from tests.pages import PAGES, ROOT, blocks

# What a page's script writes to the console when it has got from the hub what it is about.
SAYS = {
    "README.md": "hello",
    "docs/howto/from-socketio.md": "hello",
    "docs/howto/groups.md": "loaded all there is",
    "docs/howto/presence.md": "is here",
}


def scripts(page: str) -> list[str]:
    html = [re.search(r"<script[^>]*>(.*)</script>", each, re.DOTALL)[1] for each in blocks(page, "html")]
    return [*blocks(page, "js|javascript"), *html]


def test_they_are_all_run() -> None:
    pages = ["README.md", *(path.relative_to(ROOT).as_posix() for path in PAGES)]
    unknown = [page for page in sorted(pages) if scripts(page) and page not in SAYS]
    assert not unknown, "Say in SAYS what they write; what can't run by itself is `js fragment`."
    assert all(scripts(page) for page in SAYS)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("page", SAYS)
async def test_a_script_does_what_its_page_says(browser: Browser, page: str) -> None:
    async with daphne("tests.live.shown:application", {"PAGE": page}) as server:
        for script in scripts(page):
            context = await browser.new_context()
            # Where a page loads data the network fails at first, then the server.
            await context.route("**/data/", lambda route: route.fulfill(body="all there is"))
            await context.route("**/data/", lambda route: route.fulfill(status=502), times=1)
            await context.route("**/data/", lambda route: route.abort(), times=1)
            tab = await context.new_page()
            said: list[str] = []
            errors: list[str] = []
            tab.on("console", lambda message, said=said: said.append(message.text))
            tab.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            await tab.goto(server.http_url("/rooms/"))
            script = script.replace("localhost:8000", f"{server.host}:{server.port}")
            kind = {"type": "module"} if "import" in script else {}
            await tab.add_script_tag(content=script, **kind)
            await eventually(
                lambda said=said: SAYS[page] in " ".join(said), PATIENCE, f"{page}: {said} {errors}"
            )
            assert errors == []
            await context.close()
        assert server.complaints() == []
