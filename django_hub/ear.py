"""The ear: how a relay hears the channel layer, and sees to it that it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from django_hub.endings import end
from django_hub.exceptions import Unavailable
from django_hub.hearing import Hearing
from django_hub.layers.base import ChannelFull, Layer, Message, Taker
from django_hub.logs import get_logger
from django_hub.pump import PING, pump
from django_hub.tallies import tallies
from django_hub.tasks import Tasks

logger = get_logger(__name__)


class Ear:
    """Hands what comes to ``taker``, and questions to ``asked``. ``anew`` is awaited where it had heard
    nothing and listens anew: what the layer knows of it may be gone."""

    def __init__(
        self,
        layer: Layer,
        taker: Taker,
        asked: Callable[[Message], None],
        every: float,
        anew: Callable[[], Awaitable[None]],
    ) -> None:
        self._layer = layer
        self._taker = taker
        self._asked = asked
        self._every = every
        self._anew = anew
        self._channel = ""
        self._pinged = 0.0
        self._pump: asyncio.Task[None] | None = None
        self._tasks = Tasks()
        self.hearing = Hearing(time.monotonic)

    def begin(self, channel: str) -> None:
        """Hear from now on what comes on this channel."""
        self._channel = channel
        self._pump = self._tasks.begin(
            pump(self._layer, channel, self._taker, self.hearing.hear, self._asked)
        )

    def stop(self) -> list[asyncio.Task[None]]:
        """Hear no more; what is still to be ended."""
        stopped, self._pump = self._pump, None
        self.hearing = Hearing(time.monotonic)
        return [] if stopped is None else [stopped]

    async def look(self) -> None:
        """See that it hears, every ``every`` seconds at most: say something to itself, and listen anew
        where the last did not come. One at a time. Raises `Unavailable`.

        A pump that a layer lets hang hears nothing, and says nothing: not even what it was just told.
        """
        now = asyncio.get_running_loop().time()
        if self._layer.in_memory or now - self._pinged < self._every:
            return
        if (hung := self._pump) is None:
            # It was stopped, and redis-py swallowed the keeper's cancellation: another one will come.
            return
        if self.hearing.silence:
            tallies.deaf += 1
            logger.warning("Nothing comes from the channel layer any more; listening to it anew")
            await end([hung])
            if self._pump is not hung:
                return  # as above, meanwhile
            self.begin(self._channel)
            await self._anew()
        # Before it is sent: it may be back before the layer says that it is gone.
        asked = self.hearing.ask()
        try:
            await self._layer.send(self._channel, {"type": PING, "at": asked})
        except ChannelFull:
            self.hearing.excuse()  # busy, not deaf
        except Unavailable:
            self.hearing.excuse()  # it could not speak
            raise
        self._pinged = now
