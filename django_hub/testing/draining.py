"""drain: run what is pending, now."""

from __future__ import annotations

import asyncio

from django_hub.layers.choice import get_layer
from django_hub.relay import Relay, get_relay
from django_hub.stores.registry import get_store
from django_hub.testing import watch
from django_hub.testing.chaos import ChaosLayer

_POLL = 0.001
# Rounds of the loop in which what a consumer started by itself begins.
_TURNS = 5
# Seconds in which the rest is to be done where something failed: a channel without handlers never is.
_AFTER_FAILURE = 0.5


async def drain(timeout: float = 5.0) -> None:
    """Return when all that was sent into hubs is handled, and the answers are at their clients.

    That is: each open `HubCommunicator`'s application has taken what its client sent and waits for more,
    the handlers of all events are done, those of events that came of it included, and what they sent is
    delivered. Messages that a `ChaosLayer` holds back come now, and what it dropped is had from history
    where there is one. It waits for nothing else: not for tasks that handlers started, nor for the channel
    layer's messages to consumers of other kinds.

    Then raises the exception of a handler or consumer that failed: the exception itself, once each. Raises
    `TimeoutError` with what is still pending after ``timeout`` seconds: events that no handler is there
    for, for instance. Raises `RuntimeError` outside of `clean_hubs`.
    """
    watched = watch.current("drain")
    relay = get_relay()
    failed = False
    try:
        async with asyncio.timeout(timeout) as limit:
            # Handlers are anybody's code: there is nothing to be woken by.
            while not await _drained(watched, relay):
                await asyncio.sleep(_POLL)
                if watched.has_failure and not failed:
                    failed = True
                    limit.reschedule(min(limit.when() or 0.0, watched.loop.time() + _AFTER_FAILURE))
    except TimeoutError:
        watched.raise_failure()
        raise TimeoutError(f"Not drained within {timeout:g} s: {await _pending(watched)}") from None
    watched.undrained = False
    watched.raise_failure()


async def _drained(watched: watch.Watch, relay: Relay) -> bool:
    """One round; whether nothing was left to do in it."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if not all(socket.is_quiet for socket in watched.sockets):
        return False
    layer = get_layer()
    if isinstance(layer.layer, ChaosLayer):
        await layer.layer.settle()
    if await get_store().waiting():
        if not layer.in_memory:
            await ring_for_all(relay)
        return False
    await relay.idle()
    if not layer.in_memory:
        await relay.ordering.look()
        await relay.ordering.idle()
    # What was delivered just now may have made somebody speak.
    quiet = all(socket.is_quiet for socket in watched.sockets)
    return quiet and not await get_store().waiting()


async def ring_for_all(relay: Relay) -> None:
    """A wake may have been lost; and the next beat, which would ring again, is seconds away."""
    relay.bells.ring([(hub.name, hub.events) for hub in await get_store().hubs()])


async def _pending(watched: watch.Watch) -> str:
    busy = [socket.doing() for socket in watched.sockets if not socket.is_quiet]
    hubs = [hub.name for hub in await get_store().hubs()]
    waiting = await get_store().waiting_in(hubs)
    busy += [
        f"{count} events of hub {hub!r} wait for their handler" for hub, count in waiting.items() if count
    ]
    return "; ".join(busy) or "something is still on its way"
