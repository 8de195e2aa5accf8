"""Health: can this process do its work now?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass

from django_hub.conf import get_settings
from django_hub.exceptions import Unavailable
from django_hub.layers.base import ChannelFull, Layer
from django_hub.layers.choice import get_layer
from django_hub.loops import PerLoop
from django_hub.pump import PING
from django_hub.relay import get_relay
from django_hub.stores.registry import get_store

# Seconds that the broker may take to answer, and for which an answer counts.
_PATIENCE = 2.0
_FRESH = 1.0
# Nobody listens there. What is sent to it expires; where it is full, the layer answers.
_NOBODY = "hub-health"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """``store`` and ``layer``: ``ok`` or ``unreachable``. ``relay``: ``idle`` while there is no client
    here, ``hears``, ``deaf``, or ``draining`` once it sends its clients elsewhere. Seconds: ``pump_lag``,
    how long the layer last took to bring what this process told itself, where there are clients;
    ``deaf_since``, seconds since the epoch."""

    store: str
    layer: str
    relay: str
    pump_lag: float | None = None
    deaf_since: float | None = None

    @property
    def ready(self) -> bool:
        return self.store == self.layer == "ok" and self.relay not in ("deaf", "draining")


class _Probe:
    """Asks once, however many ask it, and remembers the answer."""

    def __init__(self) -> None:
        self._known: Health | None = None
        self._until = 0.0
        self._asking: asyncio.Task[Health] | None = None

    async def health(self) -> Health:
        if self._known is not None and time.monotonic() <= self._until:
            return self._known
        if self._asking is None:
            self._asking = asyncio.create_task(_health())
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, asking: asyncio.Task[Health]) -> None:
        self._asking = None
        if not asking.cancelled() and asking.exception() is None:
            self._known, self._until = asking.result(), time.monotonic() + _FRESH


_probes: PerLoop[_Probe] = PerLoop()


async def health() -> Health:
    """Of the running loop, as of a second ago at most: the store and the layer are asked once, however
    many ask this. Takes two seconds at most. Never raises `Unavailable`."""
    return await _probes.get(_Probe).health()


async def _health() -> Health:
    store, layer = await asyncio.gather(_answers(get_store().epoch()), _answers(_reach(get_layer())))
    relay = get_relay()
    hearing = relay.hearing
    # It is noticed at the next beat, and mended then.
    deaf = relay.is_running and hearing.silence > get_settings().BEAT / 2
    state = "deaf" if deaf else "hears" if relay.is_running else "idle"
    return Health(
        store=store,
        layer=layer,
        relay="draining" if relay.draining else state,
        pump_lag=hearing.lag,
        deaf_since=time.time() - hearing.silence if deaf else None,
    )


async def _reach(layer: Layer) -> None:
    if not layer.in_memory:
        try:
            await layer.send(_NOBODY, {"type": PING})
        except ChannelFull:
            return


async def _answers(asked: Awaitable[object]) -> str:
    try:
        async with asyncio.timeout(_PATIENCE):
            await asked
    except (Unavailable, TimeoutError):
        return "unreachable"
    return "ok"
