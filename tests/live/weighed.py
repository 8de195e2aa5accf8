"""`tests.live.wired`, with a scale: what a server process holds, and how much of each."""

import asyncio
import gc
import os
from collections.abc import Collection, Iterator
from typing import Any

from channels.layers import get_channel_layer
from django.conf import settings

from django_hub.relay import get_relay
from tests.live import desk, wired
from tests.live.wired import Room
from tests.live.wired import application as application

# A beat tidies up: often, so that a test need not wait for it. What a hub's log keeps, too, is soon over.
settings.DJANGO_HUB = {"BEAT": 0.5, "PROCESS_LEASE": 10.0, "HISTORY_TTL": 1.0}


def held() -> dict[str, int]:
    """Tasks, open files, sockets, and the length of every table that relay, store and layer have."""
    return {
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 (as quick as can be)
        "sockets": Room.sockets,
        **dict(_tables("relay", get_relay(), set())),
        **dict(_tables("layer", get_channel_layer(), set())),
    }


def forget() -> int:
    """What the tests themselves note of each client; how much memory the process has then."""
    wired.left.clear()
    gc.collect()
    return wired.kilobytes()


def _tables(name: str, thing: Any, seen: set[int]) -> Iterator[tuple[str, int]]:
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, Collection) and not isinstance(thing, str | bytes | tuple):
        yield name, len(thing)
    elif type(thing).__module__.startswith(("django_hub.", "channels.")):
        for attribute, value in _attributes(thing):
            yield from _tables(f"{name}.{attribute}", value, seen)


def _attributes(thing: Any) -> Iterator[tuple[str, Any]]:
    slots = [slot for kind in type(thing).__mro__ for slot in getattr(kind, "__slots__", ())]
    for name in dict.fromkeys([*slots, *getattr(thing, "__dict__", ())]):
        if hasattr(thing, name):
            yield name, getattr(thing, name)


desk.names.update(globals())
