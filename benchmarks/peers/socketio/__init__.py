"""Socket.IO on Node, with the native add-ons that its page on performance recommends for `ws`."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.peers import npm
from benchmarks.peers.peer import SOCKET_IO, SOCKET_IO_PATH, Peer
from tests.live.servers import WebServer

_FOLDER = Path(__file__).parent


def _server() -> WebServer:
    def command(host: str, port: int) -> list[str]:
        return ["node", str(_FOLDER / "server.js"), host, str(port)]

    return WebServer("node", command, {"NODE_ENV": "production"})


def _missing() -> str:
    if shutil.which("node") is None:
        return "Node.js is not installed (Debian: `apt-get install nodejs npm`)"
    return npm.missing(_FOLDER, "socket.io")()


PEER = Peer(
    name="Socket.IO on Node",
    server=_server,
    path=SOCKET_IO_PATH,
    missing=_missing,
    install=npm.install(_FOLDER),
    version=npm.version(_FOLDER, "socket.io"),
    speech=SOCKET_IO,
)
