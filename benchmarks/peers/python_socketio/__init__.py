"""python-socketio: its AsyncServer as an ASGI application on uvicorn, as its documentation deploys it."""

from __future__ import annotations

import importlib.metadata
import sys

from benchmarks.peers.peer import SOCKET_IO, SOCKET_IO_PATH, Peer, module_missing
from tests.live.servers import WebServer, uvicorn

_ROOT = __name__


def _server() -> WebServer:
    # The same event loop and websocket implementation as the others on uvicorn have.
    return uvicorn(f"{_ROOT}.app:application", None, "--log-level", "warning", loop="uvloop")


PEER = Peer(
    name="python-socketio",
    server=_server,
    path=SOCKET_IO_PATH,
    missing=module_missing("socketio", "bench"),
    install=((sys.executable, "-m", "pip", "install", "-e", ".[bench]"),),
    version=lambda: importlib.metadata.version("python-socketio"),
    speech=SOCKET_IO,
)
