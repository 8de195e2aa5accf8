"""Parcels: what relays are sent through the channel layer.

A parcel carries entries, each one frame for some of a hub's connections. All of it is flat (str, bytes,
int, lists of these), so no serializer of a layer can spoil it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django_hub.messages import Close, Frame

PARCEL = "hub.parcel"


class Scope(enum.IntEnum):
    """Whom of the hub's local connections an entry is for.

    ALL of them, ONLY those with these connection ids, or all EXCEPT those with these client ids.
    """

    ALL = 0
    ONLY = 1
    EXCEPT = 2


@dataclass(frozen=True, slots=True)
class Entry:
    """``key``: what the frame is the newest of, see `Bounds.when_slow`; none: ``""``."""

    hub: str
    frame: Frame
    scope: Scope = Scope.ALL
    ids: tuple[str, ...] = ()
    key: str = ""

    @property
    def size(self) -> int:
        """About how many bytes it adds to a parcel."""
        frame = len(self.frame.reason) if isinstance(self.frame, Close) else len(self.frame)
        return frame + len(self.hub) + 40 * len(self.ids) + len(self.key) + 16


def pack(entries: Sequence[Entry], number: str = "") -> dict[str, Any]:
    """A layer message of entries. Sent again after a lost reply it has the same ``number``."""
    return {
        "type": PARCEL,
        "number": number,
        "entries": [
            [
                entry.hub,
                int(entry.scope),
                list(entry.ids),
                [entry.frame.code, entry.frame.reason] if isinstance(entry.frame, Close) else entry.frame,
                entry.key,
            ]
            for entry in entries
        ],
    }


def unpack(message: dict[str, Any]) -> list[Entry]:
    """The entries of a layer message. Raises `ValueError` or `TypeError` for anything that is no parcel."""
    if message.get("type") != PARCEL:
        raise ValueError(f"expected a message of type {PARCEL!r}, got {message.get('type')!r:.80}")
    entries = []
    for hub, scope, ids, packed, key in message["entries"]:
        match packed:
            case str() | bytes():
                frame: Frame = packed
            case [int(code), str(reason)]:
                frame = Close(code, reason)
            case _:
                raise ValueError(f"no frame: {packed!r:.80}")
        if not isinstance(hub, str) or not isinstance(ids, (list, tuple)):
            raise ValueError(f"no hub and ids: {hub!r:.80}, {ids!r:.80}")
        if not all(isinstance(each, str) for each in (*ids, key)):
            raise ValueError(f"ids and key are text: {ids!r:.80}, {key!r:.80}")
        entries.append(Entry(hub, frame, Scope(scope), tuple(ids), key))
    return entries
