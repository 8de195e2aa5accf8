"""The keeper: looks after what others left behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable

from django_hub.bells import RING, Bells
from django_hub.exceptions import Unavailable
from django_hub.layers.base import Layer
from django_hub.logs import get_logger
from django_hub.names import UNHEARD, group_name
from django_hub.notices import NOTICES
from django_hub.stores.base import Store
from django_hub.tallies import tallies

logger = get_logger(__name__)

# What was rung for is remembered for so many times the store's `ring_again`: other processes ring, too.
_REMEMBERED = 4


class Keeper:
    """Every process that serves or works keeps: dead processes' members are reaped, mail that nobody took
    is rung for. Any number may do so at once; each death and each mail is seen to by one of them."""

    def __init__(self, store: Store, bells: Bells, layer: Layer) -> None:
        self._store = store
        self._bells = bells
        self._layer = layer
        # When which hubs were rung for, and of which channels it was told that nobody listens.
        self._rung: dict[str, float] = {}
        self._told: dict[str, float] = {}

    async def run(self, beat: Callable[[], Awaitable[None]], every: float) -> None:
        """Call ``beat`` and look, about ``every`` so many seconds, until cancelled."""
        try:
            while True:
                # Not all processes of a site at the same moment.
                await asyncio.sleep(every * random.uniform(0.8, 1.0))  # noqa: S311
                await self.once(beat)
        finally:
            _publish()

    async def once(self, beat: Callable[[], Awaitable[None]]) -> None:
        """Call ``beat`` and look, now. Whatever fails is logged, and the rest goes on."""
        away: dict[str, None] = {}
        for part in (beat, self._reap, self._ring_again):
            try:
                await part()
            except Unavailable as error:
                away[str(error)] = None
            except Exception:
                logger.exception("A beat failed; the next one follows")
        _publish()
        if away:
            logger.warning("No beat: %s", "; ".join(away))

    async def _reap(self) -> None:
        self._bells.ring(await self._store.reap(self._bury))

    async def _ring_again(self) -> None:
        wakes = await self._store.unclaimed()
        self._bells.ring(wakes)
        self._look_for_workers(wakes)

    def _look_for_workers(self, wakes: Iterable[tuple[str, str]]) -> None:
        """A wake may be lost, once. Of mail that is rung for again and again the project knows nothing else
        where no worker runs, or its channel is misspelt."""
        now = time.monotonic()
        since = now - _REMEMBERED * self._store.limits.ring_again
        self._rung = {hub: at for hub, at in self._rung.items() if at > since}
        self._told = {channel: at for channel, at in self._told.items() if at > since}
        for hub, channel in wakes:
            if channel == UNHEARD or channel.startswith(RING):
                continue
            if hub in self._rung:
                if channel not in self._told:
                    logger.warning(
                        "No worker takes the events of hub %s, on channel %r. Does 'manage.py runworker' "
                        "run, and does the application route that channel to a HubEvents? A hub is given "
                        "another channel with hub_create(name, events=...).",
                        hub,
                        channel,
                    )
                self._told[channel] = now
            self._rung[hub] = now

    async def _bury(self, process: str, died: float, hubs: Collection[str]) -> None:
        # Nobody takes what is sent to it: senders would wait for its full channel.
        await self._layer.bury(process, died, [group_name(hub) for hub in (*hubs, NOTICES)])


def _publish() -> None:
    if tallies.publish is not None:
        tallies.publish()
