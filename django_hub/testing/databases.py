"""The database in tests: one connection for the test and for what runs in asgiref's thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


def connections_in_transaction() -> list[Any]:
    """Those of a test with pytest's ``db``. Code on an event loop does not see them."""
    return [each for each in connections.all(initialized_only=True) if each.in_atomic_block]


@contextlib.asynccontextmanager
async def used_by_handlers(shared: Sequence[Any]) -> AsyncIterator[None]:
    """Handlers and consumers, whose queries run in a thread of asgiref's, use these connections.

    On others they would neither see the test's rows nor be rolled back with it. Django's live server does
    the same for its threads. Afterwards that thread has no open connections.
    """
    for connection in shared:
        connection.inc_thread_sharing()
    await sync_to_async(_replace)(shared)
    try:
        yield
    finally:
        await sync_to_async(_put_back)(shared)
        for connection in shared:
            connection.dec_thread_sharing()


def _replace(shared: Sequence[Any]) -> None:
    _close_all()
    for connection in shared:
        connections[connection.alias] = connection


def _put_back(shared: Sequence[Any]) -> None:
    for connection in shared:
        del connections[connection.alias]
    _close_all()


def _close_all() -> None:
    """Close this thread's connections, for good."""
    # With Django's own test cases this is the test's thread: what is open there is theirs.
    if threading.current_thread() is threading.main_thread():
        return
    for connection in connections.all(initialized_only=True):
        # Not its own `close`: that of an SQLite in memory does nothing, and the open connection would be
        # looked at, which pytest-django forbids, in the next test, which has no database.
        BaseDatabaseWrapper.close(connection)
        del connections[connection.alias]
