"""Parcels: what relays are sent through the channel layer.

A parcel carries entries, each one frame for some of a hub's connections. All of it is flat (str, bytes,
int, lists of these), so no serializer of a layer can spoil it.

While servers are restarted one by one, some are of another version. One that is sent what it does not know
refuses that parcel, whole: its clients miss what is in it, and none gets what was for others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django_hub.entries import Entry, Kind, Scope, pack_frame, unpack_frame
from django_hub.filters import Filter

PARCEL = "hub.parcel"


def pack(entries: Sequence[Entry], number: str = "") -> dict[str, Any]:
    """A layer message of entries. Sent again after a lost reply it has the same ``number``."""
    return {"type": PARCEL, "number": number, "entries": [_pack(entry) for entry in entries]}


def _pack(entry: Entry) -> list[Any]:
    packed = [
        entry.hub,
        int(entry.scope),
        list(entry.ids),
        pack_frame(entry.frame),
        entry.key,
        entry.epoch,
        entry.seq,
    ]
    # Most entries have no more.
    if entry.filter or entry.reply or entry.kind:
        packed += [str(entry.filter.text) if entry.filter else "", entry.reply, int(entry.kind)]
    return packed


def unpack(message: dict[str, Any]) -> list[Entry]:
    """The entries of a layer message. Raises `ValueError` or `TypeError` for anything that is no parcel."""
    if message.get("type") != PARCEL:
        raise ValueError(f"expected a message of type {PARCEL!r}, got {message.get('type')!r:.80}")
    return [_unpack(*packed) for packed in message["entries"]]


def _unpack(
    hub: Any,
    scope: Any,
    ids: Any,
    frame: Any,
    key: Any,
    epoch: Any,
    seq: Any,
    filter_: Any = "",
    reply: Any = 0,
    kind: Any = 0,
) -> Entry:
    if not isinstance(ids, (list, tuple)):
        raise ValueError(f"no ids: {ids!r:.80}")
    if not all(isinstance(each, str) for each in (hub, *ids, key, epoch, filter_)):
        raise ValueError(
            f"text is expected: {hub!r:.80}, {ids!r:.80}, {key!r:.80}, {epoch!r:.80}, {filter_!r:.80}"
        )
    if not (type(seq) is int and type(reply) is int):
        raise ValueError(f"numbers are expected: {seq!r:.80}, {reply!r:.80}")
    return Entry(
        hub,
        unpack_frame(frame),
        Scope(scope),
        tuple(ids),
        key,
        Filter(filter_) if filter_ else None,
        epoch,
        seq,
        reply,
        Kind(kind),
    )
