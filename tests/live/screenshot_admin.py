"""The picture of the admin's page in the docs: ``python -m tests.live.screenshot_admin [folder]``.

In the folder, by default ``docs/images``, it writes ``admin.png``, one hub's page; in any other also that
of all hubs, and what a phone and dark colours make of both, to look at.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from tests.live.browsing import launched
from tests.live.chat import ChatClient
from tests.live.operators import prepared
from tests.live.screenshot import DARK, DESK, IMAGES, PHONE
from tests.live.servers import daphne
from tests.live.test_admin_page import APP, logged_in

PEOPLE = [("garden", "ann"), ("garden", "mira"), ("garden", "olamide"), ("kitchen", "bob")]


async def take(folder: Path, data: Path) -> None:
    looks = {"admin": DESK}
    if folder != IMAGES:
        looks |= {"admin-dark": DESK | DARK, "admin-phone": PHONE, "admin-phone-dark": PHONE | DARK}
    async with daphne(APP, prepared(data)) as server, launched() as browser, AsyncExitStack() as stack:
        people = [
            await stack.enter_async_context(ChatClient(server, room, name))
            for room, name in [
                ("garden", "ann"),
                ("garden", "mira"),
                ("garden", "olamide"),
                ("kitchen", "bob"),
            ]
        ]
        for name, look in looks.items():
            page = await logged_in(browser, server, "root", **look)
            await page.locator("#rows tbody tr", has_text="garden").wait_for()
            if folder != IMAGES:
                await page.screenshot(path=folder / f"{name}-all.png")
            await page.click("#rows a:has-text('garden')")
            await page.locator("#rows tbody tr", has_text="olamide").wait_for()
            for number in range(6):
                for person in people[number % 3 :]:
                    await person.say(f"seed packet {number}")
                await asyncio.sleep(0.6)
            await page.locator("#events li", has_text="packet 5").first.wait_for()
            await page.screenshot(path=folder / f"{name}.png")
            await page.context.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data:
        asyncio.run(take(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else IMAGES, Path(data)))
