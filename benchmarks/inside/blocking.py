"""Broadcasts from a thread, to a group in which one process is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from asgiref.sync import async_to_sync
from channels.layers import BaseChannelLayer, get_channel_layer

from benchmarks.generator import Measured
from django_hub import sync
from django_hub.names import group_name

_MESSAGE = {"type": "said", "text": "x" * 100}


def hub_broadcast(seconds: float) -> Measured:
    return _calls(lambda: sync.hub_broadcast("h", _MESSAGE), group_name("h"), seconds)


def group_send(seconds: float) -> Measured:
    send = async_to_sync(_layer().group_send)
    return _calls(lambda: send("h", _MESSAGE), "h", seconds)


def _layer() -> BaseChannelLayer:
    layer = get_channel_layer()
    assert layer is not None
    return layer


def _calls(call: Callable[[], object], group: str, seconds: float) -> Measured:
    # So that there is somebody to send to.
    asyncio.run(_layer().group_add(group, "somebody"))
    clock = time.perf_counter
    count, began = 0, 0.0
    for warm in (True, False):
        count, began = 0, clock()
        while clock() - began < (min(0.5, seconds) if warm else seconds):
            call()
            count += 1
    return {"rate": count / (clock() - began)}
