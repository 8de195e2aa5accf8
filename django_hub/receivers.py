"""Whom of a hub's local connections an entry is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django_hub.connection import Connection
from django_hub.parcels import Entry, Scope


def receivers(connections: Mapping[str, Connection], entry: Entry) -> Iterable[Connection]:
    """Those of the connections, which are given by their ids; to be walked at once."""
    chosen = _in_scope(connections, entry)
    return chosen if entry.filter is None else entry.filter.choose(chosen)


def _in_scope(connections: Mapping[str, Connection], entry: Entry) -> Iterable[Connection]:
    match entry.scope:
        case Scope.ALL:
            return connections.values()
        case Scope.ONLY:
            return [connections[key] for key in entry.ids if key in connections]
        case Scope.EXCEPT:
            ids = frozenset(entry.ids)
            return [c for c in connections.values() if c.client_id not in ids]
        case Scope.CLIENTS:
            ids = frozenset(entry.ids)
            return [c for c in connections.values() if c.client_id in ids]
