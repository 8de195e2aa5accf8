"""Parcels: what relays are sent through the channel layer.

A parcel carries entries, each one frame for some of a hub's connections. All of it is flat (str, bytes,
int, lists of these), so no serializer of a layer can spoil it.

While servers are restarted one by one, some are of another version. One that is sent what it does not know
refuses that parcel, whole: its clients miss what is in it, and none gets what was for others. So what most
entries do not have is left out of them.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django_hub.filters import Filter
from django_hub.messages import Close, Frame

PARCEL = "hub.parcel"


class Scope(enum.IntEnum):
    """Whom of the hub's local connections an entry is for.

    ALL of them, ONLY those with these connection ids, all EXCEPT those with these client ids, or only those
    CLIENTS with these client ids.
    """

    ALL = 0
    ONLY = 1
    EXCEPT = 2
    CLIENTS = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """A frame for those of the hub's connections that the scope, with its ids, and the filter both mean.

    ``key``: what the frame is the newest of, see `Bounds.when_slow`; none: ``""``.
    """

    hub: str
    frame: Frame
    scope: Scope = Scope.ALL
    ids: tuple[str, ...] = ()
    key: str = ""
    filter: Filter | None = None

    @property
    def size(self) -> int:
        """About how many bytes it adds to a parcel."""
        frame = len(self.frame.reason) if isinstance(self.frame, Close) else len(self.frame)
        ids = sum(map(len, self.ids)) + 8 * len(self.ids)
        filter_ = len(self.filter.text) if self.filter else 0
        return frame + len(self.hub) + ids + len(self.key) + filter_ + 16


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
                *([entry.filter.text] if entry.filter else ()),
            ]
            for entry in entries
        ],
    }


def unpack(message: dict[str, Any]) -> list[Entry]:
    """The entries of a layer message. Raises `ValueError` or `TypeError` for anything that is no parcel."""
    if message.get("type") != PARCEL:
        raise ValueError(f"expected a message of type {PARCEL!r}, got {message.get('type')!r:.80}")
    entries = []
    for hub, scope, ids, packed, key, *more in message["entries"]:
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
        match more:
            case []:
                filter_ = None
            case [str(text)]:
                filter_ = Filter(text)
            case _:
                raise ValueError(f"no filter: {more!r:.80}")
        entries.append(Entry(hub, frame, Scope(scope), tuple(ids), key, filter_))
    return entries
