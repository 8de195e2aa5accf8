"""What a hub's client gives its program, in the hub's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What the application sent: a JSON value, or bytes.

    A broadcast has a ``seq``, which rises; a message to this client alone a ``direct`` number, which rises;
    one with neither could be dropped, and is never recovered.
    """

    data: Any
    seq: int | None = None
    direct: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync:
    """Messages were missed for good, here. Load the application's data anew; what follows is later."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """A client of the hub. lost: its connection broke, and it may be back; gone: it has left."""

    client: str
    user: str | int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    state: Literal["online", "lost", "gone"] = "online"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceChange:
    """``event``: joined, left, updated, lost or resumed."""

    event: str
    member: Present


Item: TypeAlias = "Received | Resync | PresenceChange"
