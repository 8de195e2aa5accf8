"""The demo's board in a real browser, and its database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Locator

from tests.live.browsing import PATIENCE, Address, HubPage
from tests.live.servers import ROOT, eventually


def migrate(folder: Path) -> Path:
    """A database in that folder, as ``manage.py migrate`` leaves it."""
    path = folder / "db.sqlite3"
    command = [sys.executable, "manage.py", "migrate", "--verbosity=0"]
    env = {**os.environ, "DATABASE": str(path), "DJANGO_SETTINGS_MODULE": "demo_project.settings"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


class BoardPage(HubPage):
    """What one person sees of the board."""

    loads = 0

    @classmethod
    async def enter(
        cls, browser: Browser, server: Address, name: str, team: str = "Gardeners", **options: Any
    ) -> BoardPage:
        self = cls(await (await browser.new_context(**options)).new_page(), name)
        self.page.on("request", self._count)
        await self.page.goto(server.http_url("/board/"))
        await self.page.fill("#id_name", name)
        await self.page.select_option("#id_team", label=team)
        await self.page.click("text=Open its board")
        await self.page.locator(".sticky").nth(2).wait_for()
        return self

    def note(self, number: int) -> Locator:
        return self.page.locator(".sticky").nth(number)

    async def place(self, number: int) -> tuple[float, float]:
        box = await self.note(number).bounding_box()
        assert box is not None
        return round(box["x"]), round(box["y"])

    async def has_note_at(self, number: int, place: tuple[float, float]) -> None:
        async def it_is() -> bool:
            x, y = await self.place(number)
            assert max(abs(x - place[0]), abs(y - place[1])) <= 2, (x, y)
            return True

        await eventually(it_is, PATIENCE, f"{self.name} sees note {number} at {place}")

    async def texts(self) -> list[str]:
        return await self.page.eval_on_selector_all(
            ".sticky textarea", "areas => areas.map(area => area.value)"
        )

    async def has_texts(self, wanted: list[str]) -> None:
        await eventually(self._is(self.texts, wanted), PATIENCE, f"{self.name} reads {wanted}")

    async def has_votes(self, *wanted: str) -> None:
        found = self.page.locator(".sticky .votes").all_text_contents
        await eventually(self._is(found, list(wanted)), PATIENCE, f"{self.name} counts {wanted}")

    async def write(self, number: int, text: str) -> None:
        await self.note(number).locator("textarea").fill(text)
        async with self.page.expect_response("**/notes/**"):
            await self.note(number).locator("textarea").blur()

    async def ask(self, path: str, method: str = "GET") -> int:
        """What the server answers to this person."""
        return await self.page.evaluate(
            """async ([path, method]) => {
                const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
                return (await fetch(path, { method, headers: { "X-CSRFToken": token } })).status;
            }""",
            [path, method],
        )

    async def close_code(self, path: str) -> int:
        """With what a raw socket there is closed."""
        return await self.page.evaluate(
            """path => new Promise(resolve => {
                new WebSocket(path).onclose = ({ code }) => resolve(code);
            })""",
            path,
        )

    def _count(self, request: object) -> None:
        self.loads += request.url.endswith("/data/")  # type: ignore[attr-defined]
