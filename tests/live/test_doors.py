"""Attacks on the doors of a real site of one daphne and one uvicorn: who gets in, and who is put out."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from django_hub.client import HubClosed, hub_connect
from tests.live.servers import ROOT, Broker, WebServer
from tests.live.site import UNIT, Site

pytestmark = [pytest.mark.live, pytest.mark.broker]

APP = "tests.live.doors:application"
ELSEWHERE = "https://elsewhere.example"


@pytest.fixture(scope="module")
def site(server: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all: each test has users of its own."""
    site = Site(server, app=APP)
    site.env |= {
        "DJANGO_SETTINGS_MODULE": "tests.live.doors_settings",
        "DOORS_DATABASE": str(tmp_path_factory.mktemp("doors") / "doors.sqlite3"),
    }
    migrate = [sys.executable, "-m", "django", "migrate", "-v", "0"]
    subprocess.run(migrate, env={**os.environ, **site.env, "PYTHONPATH": str(ROOT)}, cwd=ROOT, check=True)
    asyncio.run(site.start(workers=1))
    yield site
    asyncio.run(site.stack.aclose())
    assert site.complaints() == []


_opened: list[ClientConnection] = []


@pytest.fixture(autouse=True)
async def closed_at_the_end() -> AsyncIterator[None]:
    yield
    await asyncio.gather(*(socket.close() for socket in _opened))
    _opened.clear()


class Browser:
    """A cookie, with which pages are asked for and sockets opened."""

    def __init__(self, server: WebServer) -> None:
        self.server = server
        self.cookie = ""

    async def get(self, path: str) -> str:
        return await asyncio.to_thread(self._get, path)

    def _get(self, path: str) -> str:
        line = http.client.HTTPConnection(self.server.host, self.server.port, timeout=20 * UNIT)
        line.request("GET", path, headers={"Cookie": self.cookie} if self.cookie else {})
        answer = line.getresponse()
        text = answer.read().decode()
        if (cookie := answer.getheader("Set-Cookie")) is not None:
            self.cookie = cookie.partition(";")[0]
        line.close()
        assert answer.status == 200, text[-2000:]
        return text

    async def open(
        self,
        path: str = "/ws/room/",
        server: WebServer | None = None,
        origin: str | None = "",
        protocols: list[str] | None = None,
    ) -> ClientConnection:
        """``origin`` ``""``: that of the site's own pages."""
        server = server or self.server
        socket = await connect(
            server.ws_url(path),
            origin=f"http://{server.host}:{server.port}" if origin == "" else origin,
            additional_headers={"Cookie": self.cookie} if self.cookie else {},
            subprotocols=protocols,
            compression=None,
        )
        _opened.append(socket)
        return socket


async def user(site: Site, name: str, server: int = 0) -> Browser:
    browser = Browser(site.servers[server])
    await browser.get(f"/enter/{name}/")
    return browser


async def end(socket: ClientConnection) -> tuple[int, list[Any]]:
    """The close code, and what came before."""
    heard: list[Any] = []
    try:
        async with asyncio.timeout(20 * UNIT):
            while True:
                heard.append(await socket.recv())
    except ConnectionClosed as closed:
        return (closed.rcvd.code if closed.rcvd else 1006), heard


async def is_in(socket: ClientConnection, text: str) -> None:
    """It is a member: what it says comes back."""
    await socket.send(text)
    async with asyncio.timeout(20 * UNIT):
        while await socket.recv() != text:
            pass


async def refused_at_the_door(browser: Browser, **how: Any) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await browser.open(**how)
    return refused.value.response.status_code


async def test_a_strangers_page_and_a_visitor_without_a_cookie_stay_outside(site: Site) -> None:
    for number, server in enumerate(site.servers):
        anna = await user(site, "anna", number)
        for origin in ("https://evil.example", "null", None, f"http://{server.host}.evil.example"):
            assert await refused_at_the_door(anna, origin=origin) == 403
        nobody = Browser(server)
        assert await end(await nobody.open()) == (4403, [])
        # A made up cookie, and one cut short.
        for cookie in ("sessionid=" + "a" * 32, anna.cookie[:-1]):
            nobody.cookie = cookie
            assert await end(await nobody.open()) == (4403, [])
        await is_in(await anna.open(), f"anna {number}")


async def test_another_users_token_brings_nothing(site: Site) -> None:
    for number in range(2):
        anna, eve = await user(site, "anna", number), await user(site, "eve", number)
        socket = await anna.open(protocols=["hub.v1"])
        await socket.send('{"type":"connect"}')
        hello = json.loads(await socket.recv())
        stolen = await eve.open(protocols=["hub.v1"])
        await stolen.send(json.dumps({"type": "connect", "token": hello["token"]}))
        code, heard = await end(stolen)
        assert code == 4401
        assert [json.loads(frame)["type"] for frame in heard] == ["closing"]
        await socket.send('{"type":"message","id":1,"data":"still here"}')
        while "still here" not in str(await socket.recv()):
            pass


async def test_logout_in_another_tab_closes_all_tabs_on_all_servers(site: Site) -> None:
    _, there = site.servers
    anna = await user(site, "anna")
    phone = await user(site, "anna", 1)
    tabs = [await anna.open(), await anna.open(server=there), await phone.open()]
    speaking = await anna.open(server=there, protocols=["hub.v1"])
    await speaking.send('{"type":"connect"}')
    await speaking.recv()
    for number, tab in enumerate(tabs):
        await is_in(tab, str(number))
    began = time.monotonic()
    await anna.get("/leave/")
    assert (await end(tabs[0]))[0] == (await end(tabs[1]))[0] == 4401
    code, heard = await end(speaking)
    assert time.monotonic() - began < 1.5 * UNIT
    assert code == 4401
    closing = {"type": "closing", "code": 4401, "reason": "logged out", "reconnect": True}
    assert json.loads(heard[-1]) == closing
    await is_in(tabs[2], "the phone is still in")
    assert await end(await anna.open(server=there)) == (4403, [])


async def test_who_may_no_longer_is_put_out_within_a_second(site: Site) -> None:
    here, there = site.servers
    root, anna, berta = await user(site, "root"), await user(site, "clara"), await user(site, "berta", 1)
    # A hub that anna may not read: refused before she is a member, on both.
    for server in site.servers:
        assert await end(await anna.open("/readers/room/", server)) == (4403, [])
    await root.get("/allow/clara/")
    await root.get("/allow/berta/")
    reading = [await anna.open("/readers/room/", server) for server in site.servers]
    other = await anna.open("/ws/other/", there)
    session = await berta.open("/ws/other/")
    for number, socket in enumerate([*reading, other, session]):
        await is_in(socket, f"reading {number}")
    began = time.monotonic()
    await root.get("/revoke/")
    assert [(await end(socket))[0] for socket in reading] == [4403, 4403]
    assert time.monotonic() - began < 1.5 * UNIT
    await berta.get("/password/")
    assert (await end(session))[0] == 4401
    await is_in(await berta.open("/ws/other/", here), "berta is back with her new cookie")
    await is_in(other, "anna was asked for no permission here")
    await root.get("/deactivate/clara/")
    assert (await end(other))[0] == 4401
    assert await end(await anna.open("/ws/other/")) == (4403, [])


async def test_a_kick_and_a_ban_reach_every_server(site: Site) -> None:
    _, there = site.servers
    root, anna = await user(site, "root", 1), await user(site, "dora")
    sockets = [await anna.open(), await anna.open(server=there)]
    for number, socket in enumerate(sockets):
        await is_in(socket, str(number))
    assert await root.get("/kick/dora/") == "2"
    assert [(await end(socket))[0] for socket in sockets] == [4403, 4403]
    back = await anna.open()
    await is_in(back, "back")
    assert await root.get("/ban/dora/") == "1"
    assert (await end(back))[0] == 4403
    for server in site.servers:
        socket = await anna.open(server=server, protocols=["hub.v1"])
        await socket.send('{"type":"connect"}')
        code, heard = await end(socket)
        assert code == 4403
        assert json.loads(heard[-1]) == {
            "type": "closing",
            "code": 4403,
            "reason": "banned: spam",
            "reconnect": False,
        }
    await is_in(await anna.open("/ws/other/"), "elsewhere she may")


async def test_a_ticket_is_good_once_in_time_and_on_one_server(site: Site) -> None:
    here = site.servers[0]
    anna = await user(site, "anna")
    stranger = Browser(here)

    async def visit(ticket: str, server: WebServer, path: str = "/visitors/room/") -> ClientConnection:
        protocols = ["hub.v1", f"hub.ticket.{ticket}"]
        return await stranger.open(path, server, ELSEWHERE, protocols)

    for server in site.servers:
        ticket = await anna.get("/ticket/60/")
        socket = await visit(ticket, server)
        assert socket.subprotocol == "hub.v1"
        await socket.send('{"type":"connect"}')
        assert json.loads(await socket.recv())["type"] == "hello"
        for replay in site.servers:
            code, (closing,) = await end(await visit(ticket, replay))
            assert (code, json.loads(closing)["reason"]) == (4401, "the ticket was used before")
            assert json.loads(closing)["reconnect"] is False
        # Raw, as a WebSocket of a page without hub.js.
        ticket = await anna.get("/ticket/60/")
        raw = await stranger.open("/visitors/room/", server, ELSEWHERE, [f"hub.ticket.{ticket}"])
        await is_in(raw, f"raw {server.name}")
        late = await anna.get("/ticket/0.2/")
        await asyncio.sleep(0.3)
        code, (closing,) = await end(await visit(late, server))
        assert (code, json.loads(closing)["reason"]) == (4401, "the ticket has expired")
        code, (closing,) = await end(await visit(ticket[:-2] + "xx", server))
        assert (code, json.loads(closing)["reason"]) == (4401, "the ticket is not valid")
        fresh = await anna.get("/ticket/60/")
        code, (closing,) = await end(await visit(fresh, server, "/visitors/other/"))
        assert (code, json.loads(closing)["reason"]) == (4401, "the ticket is another hub's")
        # A cookie that a browser sends along opens nothing there: that door is for other origins.
        assert await end(await anna.open("/visitors/room/", server, ELSEWHERE)) == (4401, [])
    # Twenty at once, over both: one gets in.
    ticket = await anna.get("/ticket/60/")
    sockets = await asyncio.gather(*(visit(ticket, site.servers[n % 2]) for n in range(20)))
    for socket in sockets:
        with contextlib.suppress(ConnectionClosed):
            await socket.send('{"type":"connect"}')
    first = [json.loads(await socket.recv())["type"] for socket in sockets]
    assert sorted(first) == ["closing"] * 19 + ["hello"]


async def test_a_program_comes_in_with_a_cookie_or_a_ticket_and_nobody_without(site: Site) -> None:
    for number, server in enumerate(site.servers):
        anna = await user(site, "anna", number)

        async def ticket(anna: Browser = anna) -> str:
            return await anna.get("/ticket/60/")

        room, visitors = server.ws_url("/ws/room/"), server.ws_url("/visitors/room/")
        ways: list[tuple[str, dict[str, Any]]] = [
            (room, {"headers": {"Cookie": anna.cookie}}),
            (visitors, {"headers": {"Origin": ELSEWHERE}, "ticket": ticket}),
        ]
        for url, how in ways:
            async with hub_connect(url, **how) as hub:
                await hub.send("hello")
        for url, how in ((room, {}), (visitors, {"headers": {"Origin": ELSEWHERE}})):
            with pytest.raises(HubClosed):
                async with hub_connect(url, **how):
                    pass
