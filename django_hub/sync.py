"""The same names as in `django_hub`, for code that blocks: views, commands, signals, tasks, threads.

    from django_hub.sync import hub_broadcast

    hub_broadcast("news", {"headline": "..."})

The calls run on one event loop in a thread of their own, one a process, so that connections are kept
from call to call (`async_to_sync` of the same would open a new connection each time). Only what belongs to
a socket (`hub_add`, `hub_post`, `hub_remove`) runs on that socket's own loop.

From code on an event loop they raise `SynchronousOnlyOperation`: they'd block it. Await the functions of
`django_hub` there.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation

from django_hub import additions, api, bans
from django_hub.background import background
from django_hub.tickets import hub_ticket as hub_ticket

P = ParamSpec("P")
T = TypeVar("T")


def _require_no_loop(name: str, instead: str = "await django_hub.{}(...)") -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        f"django_hub.sync.{name} would block the event loop it is called on. "
        f"Write '{instead.format(name)}', or call it from a thread (asgiref.sync.sync_to_async)."
    )


def _blocking(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        _require_no_loop(function.__name__)
        return background.run(function(*args, **kwargs))

    return call


def _blocking_list(function: Callable[P, AsyncIterator[T]]) -> Callable[P, list[T]]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> list[T]:
        async def collect() -> list[T]:
            return [item async for item in function(*args, **kwargs)]

        _require_no_loop(function.__name__, "async for ... in django_hub.{}(...)")
        return background.run(collect())

    return call


def _on_socket_loop(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        _require_no_loop(function.__name__)
        return async_to_sync(function)(*args, **kwargs)

    return call


blocking = _blocking
hub_create = _blocking(api.hub_create)
hub_destroy = _blocking(api.hub_destroy)
current_hub = _blocking(api.current_hub)
current_hubs = _blocking_list(api.current_hubs)
hub_member = _blocking(api.hub_member)
hub_members = _blocking_list(api.hub_members)
hub_send = _blocking(api.hub_send)
hub_update = _blocking(api.hub_update)
hub_broadcast = _blocking(api.hub_broadcast)
hub_add = _on_socket_loop(additions.hub_add)
hub_post = _on_socket_loop(additions.hub_post)
hub_remove = _on_socket_loop(additions.hub_remove)
hub_kick = _blocking(bans.hub_kick)
hub_ban = _blocking(bans.hub_ban)
hub_unban = _blocking(bans.hub_unban)
