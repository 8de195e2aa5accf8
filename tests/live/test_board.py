"""The demo's board in a real browser: what one does is seen by the others, and by who was away."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Route

from tests.live.boards import BoardPage, migrate
from tests.live.browsing import PATIENCE
from tests.live.cuts import Cut
from tests.live.servers import WebServer, daphne, eventually

APP = "demo_project.asgi:application"
NASTY = "<img src=x onerror=alert(1)> & </textarea>"

pytestmark = pytest.mark.asyncio(loop_scope="module")

Enter = Callable[..., Awaitable[BoardPage]]


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("board"))


@pytest_asyncio.fixture(loop_scope="module")
async def server(migrated: Path, tmp_path: Path) -> AsyncIterator[WebServer]:
    """The demo in one process, on a database of its own."""
    env = {"DATABASE": str(shutil.copy(migrated, tmp_path))}
    async with daphne(APP, env) as server:
        yield server
        assert server.complaints() == []


@pytest_asyncio.fixture(loop_scope="module")
async def enter(browser: Browser) -> AsyncIterator[Enter]:
    pages: list[BoardPage] = []

    async def come(*args: object, **options: object) -> BoardPage:
        pages.append(await BoardPage.enter(browser, *args, **options))
        return pages[-1]

    yield come
    assert {page.name: page.errors for page in pages if page.errors} == {}


@pytest.mark.heavy
async def test_what_one_does_the_others_see(server: WebServer, enter: Enter) -> None:
    ann, bob = await enter(server, "ann"), await enter(server, "bob")
    await bob.page.hover("#sheet", position={"x": 400, "y": 500})
    await bob.page.mouse.move(600, 600, steps=3)
    await ann.page.locator(".cursor", has_text="bob").wait_for()

    # Dragged by hand: followed before it is dropped, and kept.
    grip = await bob.note(0).locator(".grip").bounding_box()
    assert grip
    await bob.page.mouse.move(grip["x"] + 20, grip["y"] + 10)
    await bob.page.mouse.down()
    await bob.page.mouse.move(grip["x"] + 120, grip["y"] + 210, steps=4)
    await ann.has_note_at(0, await bob.place(0))
    async with bob.page.expect_response("**/notes/**"):
        await bob.page.mouse.up()
    # By keys.
    await ann.note(1).locator(".grip").press("ArrowRight")
    await bob.has_note_at(1, await ann.place(1))
    places = [await bob.place(number) for number in (0, 1)]

    # Text is text, and a vote counts once a user, and its author is told of it.
    await ann.page.click("#add")
    await ann.note(3).wait_for()
    await bob.note(3).wait_for()
    await ann.write(3, NASTY)
    await bob.has_texts([*(await ann.texts())[:3], NASTY])
    await bob.note(3).locator(".vote").click()
    for page in (ann, bob):
        await page.has_votes("0", "0", "0", "1")
        await page.page.locator("#leading", has_text=NASTY).wait_for()
    await ann.page.get_by_text(f"bob voted for your note “{NASTY}”.").wait_for()
    await ann.note(3).locator(".vote").click()
    await bob.has_votes("0", "0", "0", "2")
    await ann.note(3).locator(".vote").click()
    await bob.has_votes("0", "0", "0", "1")
    assert await bob.page.locator("#board img").count() == 0

    # All of it is in the database.
    await bob.page.reload()
    for number, place in enumerate(places):
        await bob.has_note_at(number, place)
    await bob.has_votes("0", "0", "0", "1")


@pytest.mark.heavy
async def test_who_was_away_sees_what_the_others_did(server: WebServer, enter: Enter) -> None:
    async with Cut(server) as cut:
        ann, bob = await enter(server, "ann"), await enter(cut, "bob")
        house = await ann.texts()
        await bob.away(cut)
        assert await bob.note(0).locator("textarea").get_attribute("readonly") is not None
        assert await bob.page.locator("#add").is_disabled()
        await ann.page.locator("#people li[data-state=lost]", has_text="bob").wait_for()
        await ann.write(0, "while bob was away")
        await bob.back(cut)
        await bob.has_texts(["while bob was away", *house[1:]])
        assert bob.loads == 1

        # Where the hub's log is gone, all is loaded anew: in one process it goes with the server.
        await bob.away(cut)
        await server.restart()
        await ann.has_state("online")
        await ann.write(1, "after the restart")
        await ann.note(2).locator(".vote").click()
        await bob.back(cut)
        await bob.has_texts(["while bob was away", "after the restart", house[2]])
        await bob.has_votes("0", "0", "1")
        await eventually(lambda: bob.loads == 2, PATIENCE)
        await bob.note(2).locator(".vote").click()
        await ann.has_votes("0", "0", "2")


@pytest.mark.heavy
async def test_where_hands_were_while_the_board_was_loaded_is_old(server: WebServer, enter: Enter) -> None:
    ann, bob, carol = await enter(server, "ann"), await enter(server, "bob"), await enter(server, "carol")
    answer = asyncio.Event()

    async def late(route: Route) -> None:
        await answer.wait()
        await route.continue_()

    await bob.page.route("**/data/", late)
    async with bob.page.expect_request("**/data/"):
        await bob.page.reload()
    await ann.page.hover("#sheet", position={"x": 400, "y": 500})
    await carol.page.locator(".cursor", has_text="ann").wait_for()
    answer.set()
    await bob.note(2).wait_for()
    assert await bob.page.locator(".cursor").count() == 0


@pytest.mark.heavy
async def test_only_the_team_and_while_it_is_not_locked(server: WebServer, enter: Enter) -> None:
    ann, cook = await enter(server, "ann"), await enter(server, "cook", team="Cooks")
    assert [await ann.ask(f"/board/{board}/data/") for board in (1, 2)] == [200, 404]
    assert await cook.close_code("/ws/board/1/") == 4403
    assert await cook.ask("/board/1/notes/1/remove/", "POST") == 404

    await ann.page.click("#lock")
    await ann.page.get_by_text("The board is locked").wait_for()
    assert await ann.note(0).locator(".vote").is_disabled()
    assert await ann.ask("/board/1/notes/1/remove/", "POST") == 409
    await ann.page.click("#lock")
    await ann.page.locator("body:not(.read-only)").wait_for()
    await ann.note(0).locator(".remove").click()
    await eventually(ann._is(ann.page.locator(".sticky").count, 2), PATIENCE)

    ann.errors = [error for error in ann.errors if "404" not in error and "409" not in error]
    cook.errors = [error for error in cook.errors if "404" not in error]
    await cook.page.goto(server.http_url("/board/"))
    await cook.page.click("text=Log out")
    assert await cook.close_code("/ws/board/2/") == 4403


@pytest.mark.heavy
async def test_a_long_name_and_a_long_text_stay_on_their_note(server: WebServer, enter: Enter) -> None:
    ann, bob = await enter(server, "ann"), await enter(server, "b" * 64)
    await bob.page.click("#add")
    await ann.note(3).wait_for()
    await bob.write(3, "x" * 280)
    await ann.has_texts([*(await ann.texts())[:3], "x" * 280])
    for page in (ann, bob):
        sticky = await page.note(3).bounding_box()
        assert sticky
        for part in (".grip", ".remove", "textarea", ".vote"):
            box = await page.note(3).locator(part).bounding_box()
            assert box
            assert sticky["x"] <= box["x"]
            assert box["x"] + box["width"] <= sticky["x"] + sticky["width"] + 1


@pytest.mark.heavy
async def test_the_note_in_hand_lies_above_notes_and_below_the_tools(
    server: WebServer, enter: Enter
) -> None:
    ann = await enter(server, "ann")
    grip = await ann.note(0).locator(".grip").bounding_box()
    other = await ann.note(1).bounding_box()
    add = await ann.page.locator("#add").bounding_box()
    assert grip
    assert other
    assert add
    await ann.page.mouse.move(grip["x"] + 20, grip["y"] + 10)
    await ann.page.mouse.down()
    await ann.page.mouse.move(other["x"] + 30, other["y"] + 40, steps=4)
    async with ann.page.expect_response("**/notes/**"):
        await ann.page.mouse.up()
    await ann.note(0).locator(".vote").click(trial=True)
    await ann.note(1).locator("textarea").focus()
    await ann.note(1).locator(".grip").click(trial=True)
    # As far down as it goes, which is behind the tools.
    await ann.page.set_viewport_size({"width": 1280, "height": 480})
    await ann.page.mouse.wheel(0, 0)
    await ann.note(1).locator(".grip").press("ArrowDown")
    for _ in range(30):
        await ann.page.keyboard.press("ArrowDown")
    await ann.page.click("#add")
    await ann.note(3).wait_for()


@pytest.mark.heavy
async def test_who_removes_a_note_by_keys_goes_on_at_the_next(server: WebServer, enter: Enter) -> None:
    ann = await enter(server, "ann")
    await ann.note(1).locator(".remove").press("Enter")
    await eventually(ann._is(ann.page.locator(".sticky").count, 2), PATIENCE)
    assert await ann.note(1).locator(".grip").evaluate("grip => grip === document.activeElement")
    # A vote moves the list below the focus.
    for number in (0, 1):
        await ann.note(number).locator(".vote").click()
    leading = ann.page.locator("#leading button", has_text=(await ann.texts())[1])
    await leading.focus()
    await ann.note(0).locator(".vote").dispatch_event("click")
    await eventually(ann._is(ann.page.locator("#leading button").count, 1), PATIENCE)
    assert await leading.evaluate("button => button === document.activeElement")
