"""Sockets of other consumers than ours in hubs: hub_add, hub_post, hub_remove."""

from __future__ import annotations

import asyncio
from typing import Any

from django_hub.adopted import adopt, adopted
from django_hub.bounds import Bounds
from django_hub.conf import get_settings
from django_hub.departures import Departure
from django_hub.exceptions import InvalidMessage
from django_hub.hubs import HubName, name_of
from django_hub.members import plain_meta
from django_hub.names import (
    DEFAULT_EVENTS,
    new_client_id,
    require_client_id,
    require_events_channel,
    require_open_hub_name,
)
from django_hub.relay import get_relay
from django_hub.scopes import user_id


async def hub_add(
    hub: HubName,
    websocket: Any,
    client_id: str | None = None,
    meta: dict[str, Any] | None = None,
    *,
    events: str = DEFAULT_EVENTS,
    bounds: Bounds = Bounds(),  # noqa: B008 (frozen)
) -> str:
    """Put the socket of any Channels websocket consumer into a hub, and return its client id.

    ``websocket`` is the consumer itself, before its ``accept()`` (within 10 seconds) or after: what comes
    for it before goes out behind the accept. One that closes instead was a member for a moment. It goes on
    as it was: what it receives stays its own, `hub_post` hands it on. It leaves with `hub_remove`, with its
    socket, or when the consumer ends in any other way. A consumer may be in several hubs. ``events`` is the
    channel of a hub that isn't there yet, ``bounds`` what may wait for this client. Waits while the store
    can't be reached. Once in, it is closed with 4401 when its user logs out, or may not log in any more;
    when its socket came is not known here, so that is also looked up once, behind the join.
    Raises `InvalidName`, `InvalidMessage` (for ``meta``), `TypeError`, `Refused` for who is banned.
    """
    name = require_open_hub_name(name_of(hub))
    require_events_channel(events)
    client_id = require_client_id(new_client_id() if client_id is None else client_id)
    plain = plain_meta(meta, get_settings().encoder)
    if not isinstance(bounds, Bounds):
        raise TypeError(f"bounds is a Bounds(...); got {type(bounds).__name__}.")
    relay = get_relay()
    scope = getattr(websocket, "scope", None) or {}
    asked = asyncio.get_running_loop().time()
    if (refusal := await relay.exclusions.of(name, client_id, user_id(scope))) is not None:
        raise refusal
    await adopt(relay, websocket, name, client_id, plain, events, bounds, asked)
    return client_id


async def hub_post(hub: HubName, websocket: Any, data: str | bytes) -> bool:
    """Put what an added consumer received into the hub's mailbox, as `HubConsumer.post` does.

    Waits while the mailbox is full. False: the consumer's socket is not, or no longer, in that hub.
    """
    if not isinstance(data, (str, bytes)):
        raise InvalidMessage(f"A client's message is str or bytes, as received; got {type(data).__name__}.")
    name = name_of(hub)
    connection = adopted(websocket).get(name)
    return connection is not None and await get_relay().clients.post(connection, data)


async def hub_remove(hub: HubName, websocket: Any) -> bool:
    """Take an added consumer's socket out of the hub; it stays open. False: it wasn't there."""
    name = name_of(hub)
    connection = adopted(websocket).pop(name, None)
    if connection is None or connection.left is not None:
        return False
    await asyncio.shield(get_relay().clients.leave(connection, Departure(reason="close")))
    return True
