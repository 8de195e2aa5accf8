"""The demo's room in a real browser, as people use it whose connection comes and goes."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.live.browsing import LOST, RoomPage
from tests.live.chat import ChatClient
from tests.live.cuts import Cut
from tests.live.servers import Broker, WebServer, daphne, uvicorn, worker
from tests.live.site import LEASES

APP = "demo_project.asgi:application"
GAP = "You were away too long"

pytestmark = pytest.mark.asyncio(loop_scope="module")

Enter = Callable[..., Awaitable[RoomPage]]


@pytest.fixture
def room() -> str:
    """Each test has its own."""
    return f"garden-{secrets.token_hex(4)}"


@pytest_asyncio.fixture(loop_scope="module")
async def enter(browser: Browser, room: str) -> AsyncIterator[Enter]:
    """``await enter(server, "ann")`` comes into the room. At the end no page may have complained."""
    pages: list[RoomPage] = []

    async def come(server: WebServer | Cut, name: str, **options: object) -> RoomPage:
        pages.append(await RoomPage.enter(browser, server, name, room=room, **options))
        return pages[-1]

    yield come
    assert {page.name: page.errors for page in pages if page.errors} == {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[WebServer]:
    """The chat in one process."""
    async with daphne(APP) as server:
        yield server
        assert server.complaints() == []


@pytest_asyncio.fixture(loop_scope="module")
async def cut(server: WebServer) -> AsyncIterator[Cut]:
    async with Cut(server) as cut:
        yield cut


def numbered(count: int) -> list[str]:
    return [f"word {number}" for number in range(count)]


async def speak(server: WebServer, room: str, words: list[str]) -> None:
    """Somebody whose client speaks no hub.v1 says it, and hears it said."""
    async with ChatClient(server, room, "zoe") as zoe:
        await zoe.until(type="joined", client="zoe")
        for word in words:
            await zoe.say(word)
        await zoe.until(type="said", text=words[-1])


async def test_two_people_chat(server: WebServer, enter: Enter) -> None:
    ann, bob = await enter(server, "ann"), await enter(server, "bob")
    for page in (ann, bob):
        await page.has_people(ann="", bob="")
    await ann.notes_have("bob joined")
    await ann.page.type("#text", "hello")
    await bob.page.get_by_text("ann is writing…").wait_for()
    await ann.page.press("#text", "Enter")
    await bob.has_words("hello")
    await bob.page.get_by_text("ann is writing…").wait_for(state="detached")
    assert await ann.page.text_content("#typing") == ""
    await bob.say("<b>& you?</b>\nfine")
    for page in (ann, bob):
        await page.has_words("hello", "<b>& you?</b>\nfine")
    await bob.page.click(".person:has-text('ann')")
    await bob.say("psst")
    await ann.has_words("hello", "<b>& you?</b>\nfine", "psst")
    await ann.say("שלום!")
    await bob.has_words("hello", "<b>& you?</b>\nfine", "psst", "שלום!")
    sides = "all => all.map(words => getComputedStyle(words).direction)"
    assert await bob.page.eval_on_selector_all("#log .words", sides) == ["ltr", "ltr", "ltr", "rtl"]
    await bob.page.close()
    await ann.notes_have("bob left")
    await ann.has_people(ann="")


async def test_all_that_was_said_while_away_is_there_on_return(
    server: WebServer, cut: Cut, room: str, enter: Enter
) -> None:
    ann, bob = await enter(server, "ann"), await enter(cut, "bob")
    await ann.say("first")
    await bob.has_words("first")
    await bob.away(cut)
    await ann.has_people(ann="", bob="reconnecting")
    await speak(server, room, numbered(50))
    await ann.has_words("first", *numbered(50))
    await bob.say("said in a tunnel")
    await bob.page.get_by_text("1 to be sent when you are back").wait_for()
    await bob.back(cut)
    for page in (ann, bob):
        await page.has_words("first", *numbered(50), "said in a tunnel")
        await page.has_people(ann="", bob="")
        assert [note for note in await page.notes() if GAP in note or "bob left" in note] == []
    assert await bob.page.locator("#unsent").is_hidden()


async def test_what_is_no_longer_kept_is_told(server: WebServer, cut: Cut, room: str, enter: Enter) -> None:
    bob = await enter(cut, "bob")
    await bob.away(cut)
    await speak(server, room, numbered(500))
    await bob.back(cut)
    await bob.notes_have(GAP)
    await speak(server, room, ["late"])
    await bob.has_words("late")
    await bob.has_people(bob="")
    assert len([note for note in await bob.notes() if GAP in note]) == 1


async def test_drops_while_nothing_is_said_and_two_in_a_row(
    server: WebServer, cut: Cut, room: str, enter: Enter
) -> None:
    ann, bob = await enter(server, "ann"), await enter(cut, "bob")
    for _ in range(2):
        await bob.away(cut)
        await bob.back(cut)
    await bob.away(cut)
    await speak(server, room, numbered(3))
    await cut.mend()
    await bob.page.context.set_offline(False)
    # As early as it can be: wherever it is in its return.
    cut.drop()
    await bob.has_words(*numbered(3))
    await ann.has_people(ann="", bob="")
    assert "bob left" not in "".join(await ann.notes())


async def test_a_drop_before_the_first_message(
    server: WebServer, cut: Cut, room: str, browser: Browser
) -> None:
    bob = await RoomPage.open(browser, cut, "bob", room)
    cut.drop()
    await bob.say("am I in?")
    await bob.has_words("am I in?")
    await bob.has_people(bob="")
    assert bob.errors == []


async def test_a_page_that_nobody_looks_at_comes_back_when_it_is_seen(
    server: WebServer, cut: Cut, room: str, enter: Enter
) -> None:
    bob = await enter(cut, "bob")
    # Headless pages are always visible: it is told otherwise, by the property and the event for that.
    await hide(bob, hidden=True)
    cut.cut()
    await bob.has_state(*LOST)
    await speak(server, room, numbered(50))
    await cut.mend()
    await hide(bob, hidden=False)
    await bob.has_words(*numbered(50))
    assert await bob.page.title() == f"{room} · Hub chat"


async def test_a_page_that_was_frozen_has_all_when_it_thaws(
    server: WebServer, cut: Cut, room: str, enter: Enter
) -> None:
    bob = await enter(cut, "bob")
    session = await bob.page.context.new_cdp_session(bob.page)
    await session.send("Page.setWebLifecycleState", {"state": "frozen"})
    cut.drop()
    await speak(server, room, numbered(50))
    await session.send("Page.setWebLifecycleState", {"state": "active"})
    await bob.has_words(*numbered(50))


async def hide(page: RoomPage, *, hidden: bool) -> None:
    await page.page.evaluate(
        """hidden => {
            const state = hidden ? "hidden" : "visible";
            Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


async def test_a_name_that_is_taken_over_and_back(server: WebServer, enter: Enter) -> None:
    ann, old = await enter(server, "ann"), await enter(server, "bob")
    new = await enter(server, "bob")
    await old.has_state("replaced")
    await old.has_people()
    await old.page.click("text=Use it here")
    await new.has_state("replaced")
    await old.has_people(ann="", bob="")
    await old.say("here again")
    await ann.has_words("here again")
    assert "bob left" not in "".join(await ann.notes())


@pytest.mark.heavy
@pytest.mark.parametrize("killed", [False, True], ids=["SIGTERM", "kill -9"])
async def test_a_server_that_is_started_anew(broker: Broker, room: str, enter: Enter, killed: bool) -> None:
    """People of the other server talk on, and nothing of that is missed."""
    env = {**broker.env, "DJANGO_HUB": json.dumps(LEASES)}
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(uvicorn(APP, env))
        there = await stack.enter_async_context(daphne(APP, env))
        hands = await stack.enter_async_context(worker(env=env))
        ann, bob = await enter(here, "ann"), await enter(there, "bob")
        await ann.say("first")
        await bob.has_words("first")
        if killed:
            there.kill9()
            await there.wait()
        else:
            await there.stop()
        await bob.has_state(*LOST)
        await speak(here, room, numbered(50))
        await there.start()
        await bob.has_words("first", *numbered(50))
        await bob.say("back")
        for page in (ann, bob):
            await page.has_words("first", *numbered(50), "back")
            await page.has_people(ann="", bob="")
        assert [process.complaints() for process in (here, there, hands)] == [[], [], []]


@pytest.mark.heavy
async def test_a_server_that_forgot_everything_says_so(server: WebServer, enter: Enter) -> None:
    """In one process the log goes with the server."""
    bob = await enter(server, "bob")
    await server.restart()
    await bob.notes_have(GAP)
    await bob.say("anyone?")
    await bob.has_words("anyone?")
