"""Consumers that are not ours, and their connections in hubs.

A stock consumer tells nobody of its end: `websocket_disconnect` is not called after an exception or when
it is cancelled. So both are watched, that method and the consumer's own life (a weak reference): one that
failed is found at the latest when Python collects its garbage. What it sends is watched, too: it may come
here before it accepts, as stock consumers call `group_add`.
"""

from __future__ import annotations

import asyncio
import contextvars
import copy
import math
import weakref
from typing import Any

from django_hub.bounds import Bounds
from django_hub.conf import get_settings
from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.relay import Relay
from django_hub.scopes import seen_from, user_id
from django_hub.wires.handshake import Handshake

_adopted: weakref.WeakKeyDictionary[Any, dict[str, Connection]] = weakref.WeakKeyDictionary()


def adopted(websocket: Any) -> dict[str, Connection]:
    """The connections of a consumer, by hub. Raises `TypeError` for what is no such consumer."""
    return _adopted.get(websocket, {}) if _is_consumer(websocket) else {}


async def adopt(
    relay: Relay,
    websocket: Any,
    hub: str,
    client_id: str,
    meta: dict[str, Any],
    events: str,
    bounds: Bounds,
    asked: float,
) -> None:
    """Join the consumer's socket to a hub; ``asked`` as for `Rechecks.watch`.

    Raises `TypeError` for what is no such consumer, `Refused`.
    """
    connections = _adopted.get(websocket) if _is_consumer(websocket) else None
    if connections is None:
        connections = _watch(relay, websocket)
    previous = connections.get(hub)
    if previous is not None and previous.left is None:
        raise TypeError(
            f"This consumer is in hub {hub!r} already, as {previous.client_id!r}. "
            "Call hub_remove first to come in under another id."
        )
    connection = connections[hub] = Connection(
        hub=hub,
        client_id=client_id,
        meta=meta,
        user_id=user_id(websocket.scope),
        events=events,
        # The context is an empty one: the caller's may hold the consumer, whose end we must not put off.
        wire=relay.wires.wire_for(_handshake(websocket).send, contextvars.Context()),
        bounds=bounds,
        address=seen_from(websocket.scope, get_settings().PROXIES),
    )
    # Its user was loaded when its socket came, which may be long ago.
    refusal = relay.rechecks.watch(connection, websocket.scope, user_id(websocket.scope), -math.inf, asked)
    if refusal is not None:
        del connections[hub]
        raise refusal
    try:
        await relay.clients.join(connection)
    except BaseException:
        del connections[hub]
        relay.clients.leave(connection, Departure(reason="read", error="it could not join"))
        raise


def _is_consumer(websocket: Any) -> bool:
    scope = getattr(websocket, "scope", None)
    if isinstance(scope, dict) and scope.get("type") == "websocket" and hasattr(websocket, "base_send"):
        return True
    raise TypeError(
        "Expected a Channels websocket consumer, as 'self' in its connect(); "
        f"got {type(websocket).__name__}."
    )


def _handshake(websocket: Any) -> Handshake:
    """Of this consumer, whose messages pass there from now on."""
    send = websocket.base_send
    # A SyncConsumer keeps its send wrapped for threads.
    own = getattr(send, "awaitable", send)
    there = getattr(own, "__self__", None)
    if isinstance(there, Handshake):
        return there
    handshake = Handshake(own)
    if own is send:
        websocket.base_send = handshake.say
    else:
        websocket.base_send = copy.copy(send)
        websocket.base_send.awaitable = handshake.say
    return handshake


def _watch(relay: Relay, websocket: Any) -> dict[str, Connection]:
    connections: dict[str, Connection] = {}
    _adopted[websocket] = connections
    loop = asyncio.get_running_loop()

    def leave(departure: Departure) -> None:
        for connection in connections.values():
            relay.clients.leave(connection, departure)

    def leave_from_anywhere(departure: Departure) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(leave, departure)

    # The consumer is not held by what watches it: a cycle would put off its end to the next collection.
    reference = weakref.ref(websocket)
    disconnect = getattr(type(websocket), "websocket_disconnect", None)
    if disconnect is not None:

        def watched(message: dict[str, Any]) -> Any:
            leave_from_anywhere(Departure(reason="close", code=message.get("code")))
            return disconnect(reference(), message)

        websocket.websocket_disconnect = watched

    lost = Departure(reason="read", error="its consumer ended without leaving")
    weakref.finalize(websocket, leave_from_anywhere, lost).atexit = False
    return connections
