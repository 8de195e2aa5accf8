"""Whom of a hub's local connections an entry is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django_hub.connection import Connection
from django_hub.entries import Entry, Scope
from django_hub.names import session_of


def receivers(connections: Mapping[str, Connection], entry: Entry) -> Iterable[Connection]:
    """Those of the connections, which are given by their keys; to be walked at once."""
    chosen = _in_scope(connections, entry)
    return chosen if entry.filter is None else entry.filter.choose(chosen)


def _in_scope(connections: Mapping[str, Connection], entry: Entry) -> Iterable[Connection]:
    match entry.scope:
        case Scope.ALL:
            return connections.values()
        case Scope.ONLY | Scope.CHOSEN:
            return [
                connection
                for key in entry.ids
                if (connection := connections.get(key) or _of_id(connections, key)) is not None
            ]
        case Scope.EXCEPT:
            ids = frozenset(entry.ids)
            return [c for c in connections.values() if c.client_id not in ids]
        case Scope.CLIENTS:
            ids = frozenset(entry.ids)
            return [c for c in connections.values() if c.client_id in ids]


def _of_id(connections: Mapping[str, Connection], id_: str) -> Connection | None:
    """The one of a session with just this id, and no newer one."""
    connection = connections.get(session_of(id_))
    return connection if connection is not None and connection.id == id_ else None
