"""nginx with the block of the deployment page, on ports of the tests' own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.live.servers import Server, WebServer
from tests.pages import blocks

PAGE = "docs/howto/deploy.md"

# Where Debian has it, it is not on everybody's path.
_NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/bin")

needs_nginx = pytest.mark.skipif(_NGINX is None, reason="no nginx here")


def nginx_command(folder: Path, site: str) -> list[str]:
    """nginx with the block of that site, and all else in the folder."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    # Started by root it would be another user, who may not read what belongs to the tests.
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(
        f"daemon off; {user} pid {folder}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off; {paths}\n{site}\n}}\n"
    )
    return [str(_NGINX), "-c", str(file), "-p", str(folder), "-e", "stderr"]


class Nginx(Server):
    """nginx with the page's block; only its addresses are others."""

    def __init__(self, folder: Path, servers: list[WebServer]) -> None:
        super().__init__("nginx")
        self._folder = folder
        self._servers = servers

    def command(self) -> list[str]:
        site = blocks(PAGE, "nginx")[0]
        for theirs, ours in {
            "listen 80;": f"listen {self.host}:{self.port};",
            "unix:/run/mysite/web1.sock ": f"{self._servers[0].host}:{self._servers[0].port} ",
            "unix:/run/mysite/web2.sock ": f"{self._servers[1].host}:{self._servers[1].port} ",
            "/srv/mysite/staticfiles/": f"{self._folder}/",
        }.items():
            assert site.count(theirs) == 1, f"the page's nginx block has no {theirs!r}"
            site = site.replace(theirs, ours)
        return nginx_command(self._folder, site)

    def ws_url(self, path: str = "/") -> str:
        return f"ws://{self.host}:{self.port}{path}"
