"""Bun's own publish and subscribe."""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers import npm
from benchmarks.peers.peer import Peer
from tests.live.servers import WebServer

_FOLDER = Path(__file__).parent


def _server() -> WebServer:
    def command(host: str, port: int) -> list[str]:
        return [str(_FOLDER / "node_modules/.bin/bun"), str(_FOLDER / "server.js"), host, str(port)]

    return WebServer("bun", command)


PEER = Peer(
    name="Bun",
    server=_server,
    path="/",
    missing=npm.missing(_FOLDER, "bun"),
    install=npm.install(_FOLDER),
    version=npm.version(_FOLDER, "bun"),
)
