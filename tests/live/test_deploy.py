"""The deployment page, carried out: its nginx in front of a daphne and a uvicorn, on ports of our own."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from django_hub.conf import Settings
from tests.live.chat import ChatClient
from tests.live.nginx import PAGE, Nginx, needs_nginx
from tests.live.servers import Broker, daphne, uvicorn
from tests.live.site import UNIT, Site
from tests.pages import ROOT, blocks, text

SYSTEMD = shutil.which("systemd-analyze")


@pytest.mark.heavy
@needs_nginx
async def test_the_nginx_of_the_page_serves_a_site(broker: Broker, tmp_path: Path) -> None:
    collect_static(tmp_path)
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
        script = (ROOT / "django_hub/static/django_hub/hub.js").read_text()
        assert await asyncio.to_thread(get, "/static/django_hub/hub.js") == script
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


def collect_static(folder: Path) -> None:
    """By the page's command, with the page's settings but for where to."""
    (settings,) = [block for block in blocks(PAGE, "python") if "STATIC_ROOT" in block]
    assert settings.count('"/srv/mysite/staticfiles"') == 1
    (folder / "of_the_page.py").write_text(settings.replace("/srv/mysite/staticfiles", str(folder)))
    (command,) = [block for block in blocks(PAGE, "bash") if "collectstatic" in block]
    words = command.split()[1:]
    assert words[0] == "manage.py"
    subprocess.run(
        [sys.executable, "-m", "django", *words[1:]],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{ROOT}", "DJANGO_SETTINGS_MODULE": "of_the_page"},
        check=True,
        capture_output=True,
    )


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
    worker, of_server = blocks(PAGE, "ini")
    server = re.sub("ExecStart=.*", of_server, worker)
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


def test_the_images_of_the_page_are_made_and_have_the_static_files() -> None:
    (dockerfile,) = blocks(PAGE, "dockerfile")
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.MULTILINE))
    assert set(re.findall(r"target: (\w+)", blocks(PAGE, "yaml")[0])) == stages
    (root,) = re.findall(r'STATIC_ROOT = "(.*)"', text(PAGE))
    (copied,) = re.findall(r"^COPY --from=site (\S+)/ (?:\1)/$", dockerfile, re.MULTILINE)
    (served,) = re.findall(r"alias (\S+)/;", blocks(PAGE, "nginx")[0])
    assert root == copied == served
    assert "collectstatic" in dockerfile


def test_the_page_names_no_module_that_python_has_itself() -> None:
    assert not set(re.findall(r"(\w+)\.(?:asgi|settings)\b", text(PAGE))) & sys.stdlib_module_names


def test_the_page_gives_a_server_the_time_it_takes_to_end() -> None:
    drain = int(re.findall(r'"DRAIN": (\d+)', text(PAGE))[0])
    servers_own = {int(seconds) for seconds in re.findall(r'graceful-shutdown"?,? "?(\d+)', text(PAGE))}
    stops = [int(seconds) for seconds in re.findall(r"TimeoutStopSec=(\d+)", blocks(PAGE, "ini")[1])]
    stops += [int(seconds) for seconds in re.findall(r"stop_grace_period: (\d+)s", text(PAGE))]
    assert servers_own
    assert len(stops) == 3
    assert min(stops) > drain + max(servers_own) + Settings().SHUTDOWN_GRACE
