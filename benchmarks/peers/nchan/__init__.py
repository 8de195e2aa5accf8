"""nchan, Debian's module for nginx: one location where clients publish and subscribe over websocket."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from string import Template

from benchmarks.peers.npm import INSTALL_ALL
from benchmarks.peers.peer import Peer
from tests.live.servers import WebServer

_CONFIGURATION = Template(Path(__file__).with_name("nginx.conf").read_text())
_MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
# Debian has it where only root's PATH looks.
_NGINX = "/usr/sbin/nginx"


@functools.cache
def _folder() -> Path:
    """Where nginx may write."""
    folder = Path(tempfile.mkdtemp(prefix="django-hub-nginx-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _server() -> WebServer:
    folder = _folder()

    def command(host: str, port: int) -> list[str]:
        text = _CONFIGURATION.substitute(folder=folder, module=_MODULE, address=f"{host}:{port}")
        (folder / "nginx.conf").write_text(text)
        return [_NGINX, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]

    return WebServer("nginx", command)


def _missing() -> str:
    if _MODULE.exists() and shutil.which(_NGINX):
        return ""
    return f"Debian's libnginx-mod-nchan and nginx are not installed: `{INSTALL_ALL}` (as root)"


def _version() -> str:
    query = ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout


PEER = Peer(
    name="nchan",
    server=_server,
    path="/h",
    missing=_missing,
    install=(
        ("apt-get", "-qq", "update"),
        ("apt-get", "-qq", "install", "--no-install-recommends", "nginx", "libnginx-mod-nchan"),
    ),
    version=_version,
    root=True,
)
