"""Entries: one frame for some of a hub's connections; and what a log keeps of one."""

from __future__ import annotations

import base64
import enum
import json
from dataclasses import dataclass
from typing import Any

from django_hub.filters import Filter
from django_hub.jsontext import JsonText
from django_hub.messages import Close, Frame

# Made once: `json.dumps` makes an encoder with each call that is not of the default form.
_encode = json.JSONEncoder(separators=(",", ":")).encode


class Scope(enum.IntEnum):
    """Whom of the hub's local connections an entry is for.

    ALL of them, ONLY those with these keys (`Connection.key`), all EXCEPT those with these client ids,
    only those CLIENTS with these client ids, or those CHOSEN by their keys for a broadcast. ONLY is for
    them alone, and so for those who don't hear the hub (`Connection.hears`), too.
    """

    ALL = 0
    ONLY = 1
    EXCEPT = 2
    CLIENTS = 3
    CHOSEN = 4


class Kind(enum.IntEnum):
    """MESSAGE: of the application. The others are for clients of ``hub.v1`` alone: PRESENCE, a change of
    who is there (`envelopes.presence_change`), and RESYNC, a hole in the log up to this number.
    WHO is for their relay: the connections' `events.describe` is this from now on. NOTICE is for
    all relays, in a log of their own (`notices`). FAILED: the request that it would answer came to nothing,
    as the frame says."""

    MESSAGE = 0
    PRESENCE = 1
    RESYNC = 2
    WHO = 3
    NOTICE = 4
    FAILED = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """A frame for those of the hub's connections that the scope, with its ids, and the filter both mean.

    ``key``: what the frame is the newest of, see `Bounds.when_slow`; none: ``""``. ``seq``: its number in
    the log of ``epoch``, or 0 for none; with no epoch it is that of a direct message in the log of
    its client. ``reply``: the request it answers, or 0.
    """

    hub: str
    frame: Frame
    scope: Scope = Scope.ALL
    ids: tuple[str, ...] = ()
    key: str = ""
    filter: Filter | None = None
    epoch: str = ""
    seq: int = 0
    reply: int = 0
    kind: Kind = Kind.MESSAGE

    def numbered(self, epoch: str, seq: int) -> Entry:
        """The same with this number. (`dataclasses.replace` takes four times as long.)"""
        return Entry(
            self.hub,
            self.frame,
            self.scope,
            self.ids,
            self.key,
            self.filter,
            epoch,
            seq,
            self.reply,
            self.kind,
        )

    @property
    def size(self) -> int:
        """About how many bytes it adds to a parcel."""
        frame = len(self.frame.reason) if isinstance(self.frame, Close) else len(self.frame)
        ids = sum(map(len, self.ids)) + 8 * len(self.ids)
        filter_ = len(self.filter.text) if self.filter else 0
        return frame + len(self.hub) + ids + len(self.key) + filter_ + 16


def pack_frame(frame: Frame) -> Any:
    """A frame in flat values: text and bytes as they are, ``[text]`` for JSON."""
    if isinstance(frame, Close):
        return [frame.code, frame.reason]
    return [str(frame)] if type(frame) is JsonText else frame


def unpack_frame(packed: object) -> Frame:
    """Raises `ValueError` for anything else."""
    match packed:
        case str() | bytes():
            return packed
        case [str(text)]:
            return JsonText(text)
        case [int(code), str(reason)]:
            return Close(code, reason)
    raise ValueError(f"no frame: {packed!r:.80}")


def to_item(entry: Entry) -> str:
    """What a log keeps of an entry: all but its hub and its number."""
    frame = entry.frame
    packed = [base64.b64encode(frame).decode(), 0] if isinstance(frame, bytes) else pack_frame(frame)
    item: list[Any] = [packed]
    if entry.scope or entry.ids or entry.key or entry.filter or entry.reply or entry.kind:
        filter_ = entry.filter.text if entry.filter else ""
        item += [int(entry.scope), list(entry.ids), entry.key, filter_, entry.reply, int(entry.kind)]
    return _encode(item)


def from_item(hub: str, epoch: str, seq: int, item: str) -> Entry:
    """The entry again. Raises `ValueError` where it is none of this version."""
    try:
        packed, *more = json.loads(item)
        match packed:
            case [str(encoded), 0]:
                frame: Frame = base64.b64decode(encoded, validate=True)
            case _:
                frame = unpack_frame(packed)
        if not more:
            return Entry(hub, frame, epoch=epoch, seq=seq)
        scope, ids, key, filter_, reply, kind = more
        return Entry(
            hub,
            frame,
            Scope(scope),
            tuple(map(str, ids)),
            str(key),
            Filter(filter_) if filter_ else None,
            epoch,
            seq,
            int(reply),
            Kind(kind),
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"Not what a log keeps ({error}): {item!r:.120}") from error
