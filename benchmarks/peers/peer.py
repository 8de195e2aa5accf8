"""A peer: how its server is started, what is spoken to it, and how it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.generator import Option
from tests.live.servers import WebServer

# What Engine.IO and Socket.IO say inside of websocket messages: "40" enters the main namespace, and is the
# answer; "42" is an event, "2" a ping and "3" its answer.
SOCKET_IO: Mapping[str, Option] = {
    "hello": "40",
    "ready": "40",
    "prefix": '42["say","',
    "suffix": '"]',
    "counts": "42",
    "ping": "2",
    "pong": "3",
}
SOCKET_IO_PATH = "/socket.io/?EIO=4&transport=websocket"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """``speech``: the generator's options. ``install``: commands, which may need ``root``."""

    name: str
    server: Callable[[], WebServer]
    path: str
    missing: Callable[[], str]
    install: Sequence[Sequence[str]]
    version: Callable[[], str]
    speech: Mapping[str, Option] = field(default_factory=dict)
    root: bool = False


def module_missing(module: str, extra: str) -> Callable[[], str]:
    def missing() -> str:
        if importlib.util.find_spec(module):
            return ""
        return f"{module} is not installed: `pip install -e '.[{extra}]'`"

    return missing
