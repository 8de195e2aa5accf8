"""A member: a client as the store knows it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from django_hub.exceptions import InvalidMessage
from django_hub.messages import bounded, encode_json

# It is in each event of its client and in each change of presence, for all.
_MOST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A client of a hub, as it was when the store was asked.

    ``meta`` is what `HubConsumer.get_meta` (or `hub_add`) gave, ``user_id`` the user's primary key as
    text or None, ``at`` when it joined, in seconds since the epoch. ``process`` and ``connection``
    tell which socket it is: a client id that comes back is a new connection. ``state``: ``online``, or
    ``lost``: its connection broke, and it may be back within its time of grace. ``presence``: the hub's
    clients are told of it.
    """

    hub: str
    client_id: str
    user_id: str | None
    meta: dict[str, Any]
    process: str
    connection: str
    at: float
    state: Literal["online", "lost"] = "online"
    presence: bool = False


def plain_meta(meta: object, encoder: type[json.JSONEncoder] = json.JSONEncoder) -> dict[str, Any]:
    """``meta`` as every process will see it: through JSON and back. Raises `InvalidMessage`, also
    where that is too large."""
    if meta is None:
        return {}
    if not isinstance(meta, dict):
        raise InvalidMessage(f"A client's meta is a dict of JSON values; got {type(meta).__name__}.")
    text = bounded(
        encode_json(meta, encoder),
        _MOST_BYTES,
        "A client's meta, as JSON,",
        "Keep there only what others need to know of it, such as a name, and look up the rest.",
    )
    plain: dict[str, Any] = json.loads(text)
    return plain
