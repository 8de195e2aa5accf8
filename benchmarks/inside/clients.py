"""Clients without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from django_hub.bounds import Bounds
from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.relay import get_relay
from django_hub.wires.asgi import AsgiWire

# Clients that come at the same time.
_AT_ONCE = 200


async def _take(message: dict[str, Any]) -> None:
    """A client that takes all."""


def connection(
    hub: str,
    client_id: str,
    send: Callable[[dict[str, Any]], Awaitable[None]] = _take,
    events: str = "hub-fan",
) -> Connection:
    return Connection(
        hub=hub,
        client_id=client_id,
        meta={},
        user_id=None,
        events=events,
        wire=AsgiWire(send),
        bounds=Bounds(),
    )


def _some(connections: Iterable[Connection]) -> Iterable[list[Connection]]:
    every = list(connections)
    for start in range(0, len(every), _AT_ONCE):
        yield every[start : start + _AT_ONCE]


async def join(connections: Iterable[Connection]) -> None:
    clients = get_relay().clients
    for some in _some(connections):
        await asyncio.gather(*map(clients.join, some))


async def leave(connections: Iterable[Connection]) -> None:
    clients = get_relay().clients
    for some in _some(connections):
        await asyncio.wait([clients.leave(each, Departure(reason="close")) for each in some])
