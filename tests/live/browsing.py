"""The demo in a real browser: Chromium, by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.live.cuts import Cut
from tests.live.servers import MS, eventually

PATIENCE = 20_000 * MS
LOST = ("waiting", "offline", "connecting")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Chromium's own words on a server that is away; a page can't keep it from saying them.
NETWORK = ("WebSocket connection to", "Failed to load resource: net::")


class Address(Protocol):
    def http_url(self, path: str = "/") -> str: ...


def chromium() -> str | None:
    """Where it is, as Debian calls it."""
    return shutil.which("chromium")


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class HubPage:
    """What one person sees of a hub, and what the page complained of."""

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.errors: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    async def state(self) -> str:
        return await self.page.get_attribute("#state", "data-state") or ""

    async def has_state(self, *wanted: str) -> None:
        async def it_is() -> bool:
            return await self.state() in wanted

        await eventually(it_is, PATIENCE, f"{self.name}'s page is {wanted}")

    async def away(self, cut: Cut) -> None:
        """The network is gone. What the browser says of it reaches no open websocket: so that is cut."""
        await self.page.context.set_offline(True)
        cut.cut()
        await self.has_state(*LOST)

    async def back(self, cut: Cut) -> None:
        await cut.mend()
        await self.page.context.set_offline(False)
        await self.has_state("online")

    @staticmethod
    def _is(look: Any, wanted: object) -> Any:
        async def it_is() -> bool:
            found = await look()
            assert found == wanted
            return True

        return it_is

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(NETWORK):
            self.errors.append(message.text)


class RoomPage(HubPage):
    """What one person sees of a room."""

    @classmethod
    async def open(
        cls, browser: Browser, server: Address, name: str, room: str = "garden", **options: Any
    ) -> RoomPage:
        """A context of their own: what happens to one person's network is nobody else's."""
        context = await browser.new_context(**options)
        self = cls(await context.new_page(), name)
        await self.page.goto(server.http_url(f"/chat/{room}/?name={name}"))
        return self

    @classmethod
    async def enter(cls, browser: Browser, server: Address, name: str, **options: Any) -> RoomPage:
        """Open the room, and be in it."""
        self = await cls.open(browser, server, name, **options)
        await self.notes_have("You joined")
        return self

    async def say(self, text: str) -> None:
        await self.page.fill("#text", text)
        await self.page.press("#text", "Enter")

    async def words(self) -> list[str]:
        return await self.page.locator("#log .words").all_text_contents()

    async def notes(self) -> list[str]:
        return await self.page.locator("#log .note").all_text_contents()

    async def people(self) -> dict[str, str]:
        """Who is here, and what stands beside the name where that is not all well."""
        return await self.page.eval_on_selector_all(
            "#people li",
            "items => Object.fromEntries(items.map(item => "
            "['.name', '.away'].map(part => item.querySelector(part).textContent)))",
        )

    async def has_words(self, *wanted: str) -> None:
        """Wait until just these have been said, in this order."""
        await eventually(self._is(self.words, list(wanted)), PATIENCE, f"{self.name} reads {wanted[-3:]}")

    async def has_people(self, **wanted: str) -> None:
        await eventually(self._is(self.people, wanted), PATIENCE, f"{self.name} sees {wanted}")

    async def notes_have(self, text: str) -> None:
        async def it_is() -> bool:
            return any(text in note for note in await self.notes())

        await eventually(it_is, PATIENCE, f"{self.name}'s log says {text!r}")
