"""The keeper: looks after what others left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection

from django_hub.bells import Bells
from django_hub.exceptions import Unavailable
from django_hub.layers.base import Layer
from django_hub.logs import get_logger
from django_hub.names import group_name
from django_hub.notices import NOTICES
from django_hub.stores.base import Store
from django_hub.tallies import tallies

logger = get_logger(__name__)


class Keeper:
    """Every process that serves or works keeps: dead processes' members are reaped, mail that nobody took
    is rung for. Any number may do so at once; each death and each mail is seen to by one of them."""

    def __init__(self, store: Store, bells: Bells, layer: Layer) -> None:
        self._store = store
        self._bells = bells
        self._layer = layer

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
        self._bells.ring(await self._store.unclaimed())

    async def _bury(self, process: str, died: float, hubs: Collection[str]) -> None:
        # Nobody takes what is sent to it: senders would wait for its full channel.
        await self._layer.bury(process, died, [group_name(hub) for hub in (*hubs, NOTICES)])


def _publish() -> None:
    if tallies.publish is not None:
        tallies.publish()
