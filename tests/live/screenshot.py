"""The pictures of the demo in the docs, made by hand: ``python -m tests.live.screenshot [folder]``.

In the folder, by default ``docs/images``, it writes ``chat.png`` and ``board.png``; in any other also what
a phone and dark colours make of them, to look at.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from tests.live.boards import BoardPage, migrate
from tests.live.browsing import RoomPage, launched
from tests.live.cuts import Cut
from tests.live.servers import ROOT, WebServer, daphne

IMAGES = ROOT / "docs/images"
DESK = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}
DARK = {"color_scheme": "dark"}
TALK = [
    ("mira", "Morning all. The seed order goes out at noon. Anything missing?"),
    ("ann", "I can pick up string on the way in."),
    ("olamide", "The new beds by the fence get sun from ten until four: tomatoes?"),
    ("mira", "Good idea. And leeks, two trays, please."),
    ("ann", "Done. See you at the gate."),
]


NOTES = ["Tomatoes by the fence", "Leeks, two trays", "A bench under the pear tree"]


async def take(folder: Path) -> None:
    looks = {"": DESK}
    if folder != IMAGES:
        looks |= {"-dark": DESK | DARK, "-phone": PHONE, "-phone-dark": PHONE | DARK}
    async with launched() as browser:
        for name, look in looks.items():
            with tempfile.TemporaryDirectory() as place:
                env = {"DATABASE": str(migrate(Path(place)))}
                async with daphne("demo_project.asgi:application", env) as server, Cut(server) as cut:
                    await picture(browser, server, cut, look, folder / f"chat{name}.png")
                    await board(browser, server, look, folder / f"board{name}.png")


async def board(browser: Browser, server: WebServer, look: dict[str, Any], path: Path) -> None:
    ann = await BoardPage.enter(browser, server, "ann", **look)
    mira = await BoardPage.enter(browser, server, "mira")
    olamide = await BoardPage.enter(browser, server, "olamide")
    for number, (page, text) in enumerate(zip((mira, ann, olamide), NOTES, strict=True), start=3):
        await page.page.click("#add")
        await page.note(number).wait_for()
        await page.write(number, text)
        await page.note(number).locator(".vote").click()
        await page.note(number).locator(".vote[aria-pressed=true]").wait_for()
    await mira.note(5).locator(".vote").click()
    await mira.page.hover("#sheet", position={"x": 470, "y": 330})
    await olamide.page.hover("#sheet", position={"x": 760, "y": 320})
    for name in ("mira", "olamide"):
        await ann.page.locator(".cursor", has_text=name).wait_for()
    await ann.has_votes("0", "0", "0", "1", "1", "2")
    for toast in await ann.page.locator(".toast").all():
        await toast.wait_for(state="detached")
    await mira.page.mouse.move(480, 420)
    await olamide.page.mouse.move(790, 400)
    await ann.page.wait_for_timeout(300)  # they glide
    await ann.page.screenshot(path=path)
    for page in (ann, mira, olamide):
        await page.page.context.close()


async def picture(browser: Browser, server: WebServer, cut: Cut, look: dict[str, Any], path: Path) -> None:
    ann = await RoomPage.enter(browser, server, "ann", **look)
    mira = await RoomPage.enter(browser, server, "mira")
    olamide = await RoomPage.enter(browser, cut, "olamide")
    people = {page.name: page for page in (ann, mira, olamide)}
    said: list[str] = []
    for name, text in TALK:
        await people[name].say(text)
        said.append(text)
        await ann.has_words(*said)
    cut.cut()
    await ann.has_people(ann="", mira="", olamide="reconnecting")
    await mira.page.type("#text", "On my way")
    await ann.page.get_by_text("mira is writing…").wait_for()
    await ann.page.screenshot(path=path)
    for page in people.values():
        await page.page.context.close()


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else IMAGES))
