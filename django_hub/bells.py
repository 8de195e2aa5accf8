"""Bells: tell a hub's worker that it has mail.

A wake is a hint, not a parcel: the events wait in the store. One that is lost is rung again by the next
beat of anybody (`Store.unclaimed`), so a full or broken layer costs time and never an event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from django_hub.batching import Batcher
from django_hub.exceptions import Unavailable
from django_hub.layers.base import ChannelFull, Layer
from django_hub.logs import get_logger
from django_hub.names import UNHEARD

logger = get_logger(__name__)

WAKE = "hub.wake"

# What the channels begin with on which code listens that took a hub's mail for itself (`Hub.events`).
RING = "hub-ring."

# Hubs told of in one wake: far below what a layer takes in one message.
_AT_ONCE = 500


class Bells:
    """``heard`` is told each events channel before it is rung, and may see that somebody listens.
    ``drop`` is given the hubs whose events nobody handles, in place of a ring."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._waiting: Batcher[tuple[str, str], None] = Batcher(self._ring, most=10 * _AT_ONCE)
        self.heard: Callable[[str], None] | None = None
        self.drop: Callable[[Sequence[str]], Awaitable[None]] = _keep

    def ring(self, wakes: Iterable[tuple[str, str]]) -> None:
        """Ring for hubs, each with its events channel. Never waits, never raises."""
        for wake in wakes:
            self._waiting.put(wake)

    async def idle(self) -> None:
        await self._waiting.idle()

    async def _ring(self, wakes: Sequence[tuple[str, str]]) -> Sequence[None]:
        by_channel: dict[str, dict[str, None]] = {}
        for hub, channel in wakes:
            by_channel.setdefault(channel, {})[hub] = None
        for channel, hubs in by_channel.items():
            if channel == UNHEARD:
                await self._drop(list(hubs))
                continue
            if self.heard and not channel.startswith(RING):
                self.heard(channel)
            names = list(hubs)
            for start in range(0, len(names), _AT_ONCE):
                message = {"type": WAKE, "hubs": names[start : start + _AT_ONCE]}
                try:
                    await self._layer.send(channel, message)
                except ChannelFull:
                    logger.debug("Channel %s is full; its hubs are rung for again later", channel)
                except Unavailable as error:
                    logger.warning("Not rung on channel %s, for now: %s", channel, error)
                except Exception:
                    logger.exception("Could not ring on channel %s; it is rung again later", channel)
        return [None] * len(wakes)

    async def _drop(self, hubs: Sequence[str]) -> None:
        try:
            await self.drop(hubs)
        except Unavailable as error:
            logger.warning("Events that nobody handles stay, for now: %s", error)
        except Exception:
            logger.exception("Events that nobody handles could not be dropped; it is tried again later")


async def _keep(hubs: Sequence[str]) -> None:
    """Bells without a relay."""
