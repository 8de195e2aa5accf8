"""The connections of one hub in this process, and the wires of those whom an entry is for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeAlias

from django_hub.connection import Connection
from django_hub.entries import Entry, Scope
from django_hub.messages import Close
from django_hub.receivers import receivers
from django_hub.wires.base import Wire

# Of so many, how they are to be written to is not worth keeping.
_FEW = 64

# Wires of one kind, whose clients speak hub.v1 or not, are written to in one go.
_Kind: TypeAlias = tuple[type[Wire], bool]
_ByKind: TypeAlias = list[tuple[_Kind, list[Wire]]]


class Local:
    """See the module. One connection a key."""

    __slots__ = ("_by_kind", "_deaf", "_hearing", "sessions")

    def __init__(self) -> None:
        self._hearing: dict[str, Connection] = {}
        # Those who get only what is for them alone, apart: looking for them costs a broadcast nothing.
        self._deaf: dict[str, Connection] | None = None
        #: How many of them speak hub.v1.
        self.sessions = 0
        # The wires of all that hear, kept for the next broadcast where they are many.
        self._by_kind: _ByKind | None = None

    def __len__(self) -> int:
        return len(self._hearing) + len(self._deaf or ())

    def get(self, key: str) -> Connection | None:
        return self._hearing.get(key) or (self._deaf.get(key) if self._deaf else None)

    @property
    def hearing(self) -> Collection[Connection]:
        """Those who get what is for all of the hub."""
        return self._hearing.values()

    @property
    def all(self) -> Mapping[str, Connection]:
        """By their keys, as they are now."""
        return {**self._hearing, **(self._deaf or {})}

    def put(self, connection: Connection) -> None:
        """In the place of an older one with its key; again, where it hears no more, or does."""
        self.drop(connection.key)
        self.changed()
        self.sessions += bool(connection.session)
        if connection.hears:
            self._hearing[connection.key] = connection
        else:
            self._deaf = self._deaf or {}
            self._deaf[connection.key] = connection

    def drop(self, key: str) -> None:
        there = self.get(key)
        if there is not None:
            self.sessions -= bool(there.session)
            self._hearing.pop(key, None)
            if self._deaf:
                self._deaf.pop(key, None)
            self.changed()

    def changed(self) -> None:
        """One of them has another wire."""
        self._by_kind = None

    def wires(self, entry: Entry) -> _ByKind:
        """The wires of those an entry is for. Who joins or leaves meanwhile does not disturb a walk."""
        if self._deaf and (entry.scope is Scope.ONLY or isinstance(entry.frame, Close)):
            return _by_kind(receivers(self.all, entry))
        if entry.scope is not Scope.ALL or entry.filter is not None:
            return _by_kind(receivers(self._hearing, entry))
        if self._by_kind is not None:
            return self._by_kind
        by_kind = _by_kind(self._hearing.values())
        if len(self._hearing) > _FEW:
            self._by_kind = by_kind
        return by_kind


def _by_kind(connections: Iterable[Connection]) -> _ByKind:
    found: dict[_Kind, list[Wire]] = {}
    for connection in connections:
        wire = connection.wire
        found.setdefault((type(wire), bool(connection.session)), []).append(wire)
    return list(found.items())
