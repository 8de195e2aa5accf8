"""An application whose wires a test writes to by itself: it sends Python, and gets what that is.

Each websocket is known by its path; the one called ``desk`` is where the Python comes in.
"""

import asyncio
import logging
import os
from typing import Any

from django_hub.messages import Close  # noqa: F401 (for what is sent here)
from django_hub.wires.base import Outgoing
from django_hub.wires.choice import Wires

logging.basicConfig(level=logging.INFO)

# What the Python may speak of, besides what is here.
names: dict[str, Any] = {}

wires: dict[str, Any] = {}
broken: dict[str, list[str]] = {}
heard: dict[str, list[Any]] = {}
ended: dict[str, int] = {}


async def nobody_leaves() -> None:
    """What a relay does when its server ends."""


allowed = [name for name in os.environ.get("WIRES", "daphne uvicorn").split() if name != "none"]
choice = Wires(nobody_leaves, allowed)


def write(name: str, *frames: Any) -> list[bool]:
    return [wires[name].write(Outgoing(frame)) for frame in frames]


def write_to_all(names: list[str], *frames: Any) -> None:
    """As the fan-out does."""
    chosen = [wires[name] for name in names]
    for frame in frames:
        type(chosen[0]).write_to_all(chosen, Outgoing(frame))


def waiting(name: str) -> tuple[int, int]:
    return wires[name].waiting_frames, wires[name].waiting_bytes


def numbered(name: str, start: int, stop: int, size: int) -> bool:
    """Messages that begin with their number, of so many characters."""
    return all(write(name, *(f"{number} ".ljust(size, "x") for number in range(start, stop))))


def lengths(messages: list[Any]) -> list[int]:
    return [len(message) for message in messages]


def numbers(messages: list[str]) -> list[int]:
    return [int(message.split()[0]) for message in messages]


def tasks() -> int:
    return sum("_go_on" in repr(task) for task in asyncio.all_tasks())


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    name = scope["path"].strip("/")
    await receive()
    if name.startswith("early"):
        # A wire made before the handshake is done, as by a consumer that joins and then accepts.
        wires[name] = choice.wire_for(send)
    await send({"type": "websocket.accept"})
    if name == "desk":
        await _desk(receive, send)
        return
    wire = wires[name] = wires[name] if name.startswith("early") else choice.wire_for(send)
    # As of a consumer in two hubs, which has a wire for each.
    wires[f"{name}-too"] = choice.wire_for(send)
    broken[name], heard[name] = [], []
    wire.broken = lambda error: broken[name].append(type(error).__name__)
    if name.startswith("hello"):
        write(name, "the first")  # the server may not even have sent its own part of the handshake
    while (message := await receive())["type"] != "websocket.disconnect":
        heard[name].append(message.get("text") or message.get("bytes"))
    ended[name] = message.get("code", 1005)


async def _desk(receive: Any, send: Any) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        value = eval(message["text"], globals() | names)
        if asyncio.iscoroutine(value):
            value = await value
        await send({"type": "websocket.send", "text": repr(value)})
