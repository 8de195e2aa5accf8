"""clean_hubs: a world of hubs for one test, of which nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.test.utils import override_settings

from django_hub.conf import get_settings
from django_hub.endings import end
from django_hub.layers.choice import get_layer
from django_hub.relay import get_relay
from django_hub.testing import watch
from django_hub.testing.chaos import ChaosLayer
from django_hub.testing.databases import used_by_handlers
from django_hub.testing.draining import ring_for_all

_IN_MEMORY = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
# Seconds in which tasks that are just ending do so.
_PATIENCE = 0.3


class LeftBehind(AssertionError):
    """A test is over, and tasks that it, or the code it called, started are not. They were cancelled."""


@contextlib.asynccontextmanager
async def clean_hubs(
    layer: Mapping[str, Any] | None = None, *, connections: Sequence[Any] = ()
) -> AsyncIterator[None]:
    """Hubs that begin with this block and end with it, whatever the settings say, without any broker.

    Within it CHANNEL_LAYERS are in-memory ones; ``layer`` takes the place of the hubs' one, for instance a
    `ChaosLayer`, which may stand around one of Redis. Members, mailboxes and history are in this process,
    and the events are handled in it, by the ``channel`` application of ``ASGI_APPLICATION``. `drain`,
    `assert_broadcast` and the like know of all that happens in it.

    Handlers and consumers query on ``connections``. Pytest's fixture gives those of the test, so that they
    are in its transaction, if it has one; Django's own test cases need nothing.

    At its end all clients leave, the relay stops, and the connections to the database that handlers used
    are closed. Raises the exceptions of handlers and consumers that nobody was told of, or `LeftBehind` for
    tasks that still run; neither where the block itself raised.
    """
    before = asyncio.all_tasks()
    hub_layer = get_settings().LAYER
    layers = dict.fromkeys(getattr(settings, "CHANNEL_LAYERS", {}), _IN_MEMORY)
    hubs = {
        **getattr(settings, "DJANGO_HUB", {}),
        "STORE": "memory",
        # Only for the in-memory layer would it be so by default.
        "EMBEDDED_WORKER": True,
    }
    with override_settings(CHANNEL_LAYERS={**layers, hub_layer: layer or _IN_MEMORY}, DJANGO_HUB=hubs):
        watched = watch.enter()
        try:
            async with used_by_handlers(connections):
                try:
                    yield
                except BaseException:
                    await _clean(watched, before)
                    raise
                left = await _clean(watched, before)
        finally:
            watch.leave(watched)
    watched.raise_failure()
    if left:
        raise LeftBehind(
            "The test is over, and these tasks were not (they are cancelled now): "
            + "; ".join(left)
            + ". Let the code that starts them end them, or await them in the test."
        )


async def _disconnect(layer: Any) -> None:
    """Layers have no one way to close: Redis' core one has pools, the pub/sub one forgets all it knows."""
    close = getattr(layer, "close_pools", None) or getattr(layer, "flush", None)
    if close is not None:
        await close()


async def _clean(watched: watch.Watch, before: set[asyncio.Task[Any]]) -> list[str]:
    """End all that is of hubs, then all that is left; what that was."""
    layer, relay = get_layer().layer, get_relay()
    if isinstance(layer, ChaosLayer):
        await layer.calm()
    for socket in list(watched.sockets):
        await socket.end()
    if isinstance(layer, ChaosLayer):
        await ring_for_all(relay)
    await relay.shut_down()
    if not get_layer().in_memory:
        await _disconnect(layer)
    tasks = asyncio.all_tasks() - before - {asyncio.current_task()}
    if tasks:
        _, tasks = await asyncio.wait(tasks, timeout=_PATIENCE)
    left = [f"{task.get_name()}: {task.get_coro()!r}" for task in tasks]
    await end(tasks)
    return left
