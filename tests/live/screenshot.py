"""The picture of the chat in the docs, made by hand: ``python -m tests.live.screenshot [folder]``.

In the folder, by default ``docs/images``, it writes ``chat.png``; in any other also what a phone and dark
colours make of it, to look at.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

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


async def take(folder: Path) -> None:
    looks = {"chat": DESK}
    if folder != IMAGES:
        looks |= {"dark": DESK | DARK, "phone": PHONE, "phone-dark": PHONE | DARK}
    async with daphne("demo_project.asgi:application") as server, Cut(server) as cut, launched() as browser:
        for name, look in looks.items():
            await picture(
                browser,
                server,
                cut,
                look,
                folder / f"{name}.png",
                room="garden" if name == "chat" else f"garden-{name}",
            )
            await cut.mend()


async def picture(
    browser: Browser, server: WebServer, cut: Cut, look: dict[str, Any], path: Path, room: str
) -> None:
    ann = await RoomPage.enter(browser, server, "ann", room=room, **look)
    mira = await RoomPage.enter(browser, server, "mira", room=room)
    olamide = await RoomPage.enter(browser, cut, "olamide", room=room)
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
