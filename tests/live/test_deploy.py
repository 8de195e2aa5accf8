"""The deployment page, carried out: its nginx in front of a daphne and a uvicorn, on ports of our own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.live.chat import ChatClient
from tests.live.servers import ROOT, Broker, Server, WebServer, daphne, uvicorn
from tests.live.site import UNIT, Site

PAGE = (ROOT / "docs/howto/deploy.md").read_text()

# Where Debian has it, it is not on everybody's path.
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")
SYSTEMD = shutil.which("systemd-analyze")


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"the page has no block of {language}"
    return found


class Nginx(Server):
    """nginx with the page's block; only its addresses are others."""

    def __init__(self, folder: Path, servers: list[WebServer]) -> None:
        super().__init__("nginx")
        self._folder = folder
        self._servers = servers

    def command(self) -> list[str]:
        site = blocks("nginx")[0]
        for theirs, ours in {
            "listen 80;": f"listen {self.host}:{self.port};",
            "unix:/run/mysite/web1.sock;": f"{self._servers[0].host}:{self._servers[0].port};",
            "unix:/run/mysite/web2.sock;": f"{self._servers[1].host}:{self._servers[1].port};",
            "/srv/mysite/staticfiles/": f"{self._folder}/",
        }.items():
            assert site.count(theirs) == 1, f"the page's nginx block has no {theirs!r}"
            site = site.replace(theirs, ours)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{kind}_temp_path {self._folder}/{kind};" for kind in kinds)
        # Started by root it would be another user, who may not read what belongs to the tests.
        user = "user root;" if os.geteuid() == 0 else ""
        file = self._folder / "nginx.conf"
        file.write_text(
            f"daemon off; {user} pid {self._folder}/pid; error_log stderr;\n"
            f"events {{}}\nhttp {{ access_log off; {paths}\n{site}\n}}\n"
        )
        return [str(NGINX), "-c", str(file), "-p", str(self._folder), "-e", "stderr"]

    def ws_url(self, path: str = "/") -> str:
        return f"ws://{self.host}:{self.port}{path}"


@pytest.mark.heavy
@pytest.mark.may_skip
@pytest.mark.skipif(NGINX is None, reason="no nginx here")
async def test_the_nginx_of_the_page_serves_a_site(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "site.css").write_text("static")
    site = Site(broker)
    async with site.stack:
        servers = [await site.add_server(daphne), await site.add_server(uvicorn)]
        await site.add_worker()
        nginx = await site.stack.enter_async_context(Nginx(tmp_path, servers))
        people = [
            await site.stack.enter_async_context(
                ChatClient(nginx, "room", f"c{number}", origin=f"http://{nginx.host}:{nginx.port}")
            )
            for number in range(4)
        ]
        names = [person.name or "" for person in people]
        for person in people:
            await person.until(type="joined", client="c3")
        assert await people[0].here() == names
        # nginx takes them in turn, so both servers have some.
        assert all(re.search("WSCONNECT |WebSocket /ws", server.log()) for server in servers)
        await people[0].say("x" * 20_000)
        for person in people:
            assert (await person.until(type="said"))["text"] == "x" * 20_000

        def get(path: str) -> str:
            with urllib.request.urlopen(f"http://{nginx.host}:{nginx.port}{path}") as answer:
                return answer.read().decode()

        assert "<html" in await asyncio.to_thread(get, "/")
        assert await asyncio.to_thread(get, "/static/site.css") == "static"
        # A server that is stopped: its clients know at once, and come to the other one by the same address.
        await servers[1].stop()
        gone = [
            person for person in people if person.socket.state.name != "OPEN" or await is_closed(person)
        ]
        assert len(gone) == 2
        again = await site.stack.enter_async_context(ChatClient(nginx, "room", "again"))
        await again.until(type="joined", client="again")
        assert len(await again.here()) == 3
        assert site.complaints() == []


async def is_closed(person: ChatClient) -> bool:
    try:
        async with asyncio.timeout(2 * UNIT):
            await person.socket.wait_closed()
    except TimeoutError:
        return False
    return True


@pytest.mark.may_skip
@pytest.mark.skipif(SYSTEMD is None, reason="no systemd here")
def test_systemd_takes_the_units_of_the_page(tmp_path: Path) -> None:
    worker, of_server = blocks("ini")
    server = re.sub("ExecStart=.*\n", of_server, worker)
    for name, unit in (("worker", worker), ("web", server)):
        # What is there on the site's machine only.
        mine = re.sub("/srv/mysite/.venv/bin/[a-z]+", "/bin/true", unit).replace(
            "/srv/mysite", str(tmp_path)
        )
        file = tmp_path / f"mysite-{name}@1.service"
        file.write_text(mine)
        verified = subprocess.run(
            [str(SYSTEMD), "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
        )
        assert "mysite" not in verified.stderr, verified.stderr


def test_the_page_names_no_module_that_python_has_itself() -> None:
    assert not set(re.findall(r"(\w+)\.(?:asgi|settings)\b", PAGE)) & sys.stdlib_module_names
