"""Operators of a site of `tests.live.operated`, without a browser: pages, posts and the page's socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.live.chat import ChatClient
from tests.live.servers import MS, ROOT, SCRUBBED, WebServer

APP = "tests.live.operated:application"
NASTY = "<img src=x onerror=alert(1)>&'\"\x1b[31m\u202e\r\nx"
ESCAPED = "\\u001b[31m\\u202e\\u000d\\u000ax"
PATIENCE = 20_000 * MS

_MAKE = f"""
from django.contrib.auth.models import Permission, User
User.objects.create_superuser('root', password='pw')
for name, staff, may in [
    ('clerk', True, []), ('viewer', True, ['view_hubs']), ('changer', True, ['change_hubs']),
    ('outsider', True, ['view_hubs', 'change_hubs']), ({NASTY!r}, True, []),
]:
    user = User.objects.create_user(name, password='pw', is_staff=staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=may))
"""


def settled(env: dict[str, str]) -> dict[str, str]:
    """This environment without what the tests themselves run in."""
    return {name: value for name, value in os.environ.items() if name not in SCRUBBED} | env


def manage(env: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=settled(env),
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def prepared(folder: Path) -> dict[str, str]:
    """A database with operators who may see and act, or less; the password of all is ``pw``."""
    env = {"DATABASE": str(folder / "db.sqlite3")}
    manage(env, "migrate", "-v0")
    manage(env, "shell", "-c", _MAKE)
    return env


def log_of(env: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """The admin's log: who, the hub, how it is written, what was done."""
    query = (
        "SELECT username, object_id, object_repr, change_message FROM django_admin_log AS log "
        "JOIN auth_user ON auth_user.id = user_id JOIN django_content_type AS type "
        "ON type.id = content_type_id WHERE app_label = 'django_hub' ORDER BY log.id"
    )
    with contextlib.closing(sqlite3.connect(env["DATABASE"])) as database:
        return database.execute(query).fetchall()


def dismiss(env: dict[str, str], name: str) -> None:
    """They are of the staff no more."""
    with contextlib.closing(sqlite3.connect(env["DATABASE"])) as database, database:
        database.execute("UPDATE auth_user SET is_staff = 0 WHERE username = ?", [name])


class HallClient(ChatClient):
    """A client of a hall, of any name and with any meta; hears text."""

    def __init__(self, server: WebServer, hub: str, name: str, meta: Any = None, **options: Any) -> None:
        super().__init__(server, quote(hub, safe=""), quote(name, safe=""), meta, **options)
        self.name = name

    path = "/ws/hall/"

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.hears("welcome")
        return self

    async def say(self, text: str) -> None:
        await self.socket.send(text)

    async def hears(self, text: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.socket.recv() != text:
                pass


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Operator:
    """Somebody with a cookie."""

    def __init__(self, server: WebServer, site: str = "/admin/") -> None:
        self.server = server
        self.site = site
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(self.cookies), _Stay()
        )

    @classmethod
    async def come(cls, server: WebServer, name: str, site: str = "/admin/") -> Self:
        self = cls(server, site)
        await self.get("login/")
        status, _ = await self.post("login/", username=name, password="pw", next=site)
        assert status == 302
        return self

    @property
    def cookie(self) -> str:
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)

    async def get(self, path: str = "django_hub/hubs/", **query: str) -> tuple[int, str]:
        url = self.server.http_url(self.site + path) + (f"?{urlencode(query)}" if query else "")
        return await asyncio.to_thread(self._ask, url, None)

    async def post(self, path: str, token: str | None = None, **fields: str) -> tuple[int, str]:
        """With the token of its cookie, or with another one."""
        cookies = {cookie.name: cookie.value or "" for cookie in self.cookies}
        fields["csrfmiddlewaretoken"] = cookies.get("csrftoken", "") if token is None else token
        data = urlencode(fields).encode()
        return await asyncio.to_thread(self._ask, self.server.http_url(self.site + path), data)

    async def act(self, action: str, hub: str = "garden", **fields: str) -> tuple[int, Any]:
        status, text = await self.post("django_hub/hubs/act/", action=action, hub=hub, **fields)
        return status, json.loads(text) if text.startswith("{") else text

    async def does(self, action: str, hub: str = "garden", **fields: str) -> str:
        """It is done; what is said of it."""
        status, said = await self.act(action, hub, **fields)
        assert (status, said["ok"]) == (200, True), said
        text: str = said["text"]
        return text

    async def open(self) -> ClientConnection:
        url = self.server.ws_url("/ws/django_hub/admin/")
        return await connect(url, additional_headers={"Cookie": self.cookie})

    async def refused(self) -> int:
        """The code with which the page's socket is closed."""
        socket = await self.open()
        try:
            async with asyncio.timeout(PATIENCE):
                await socket.recv()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006
        raise AssertionError("it was shown something")

    async def sees(self, hub: str, wanted: Callable[[Any], Any]) -> Any:
        """The first picture of the hub that is as it is wanted."""
        async with asyncio.timeout(PATIENCE), await self.open() as socket:
            sight = {"hub": hub, "search": "", "after": "", "by_name": False}
            await socket.send(json.dumps(sight))
            while True:
                picture = json.loads(await socket.recv())
                if picture["view"] == "hub" and wanted(picture):
                    return picture

    def _ask(self, url: str, data: bytes | None) -> tuple[int, str]:
        try:
            with self._opener.open(url, data, timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
