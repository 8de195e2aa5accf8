"""The account of what this process had accepted: what is handled is forgotten, and what was lost told."""

from __future__ import annotations

from collections.abc import Sized

from django_hub.accepted import Accepted
from django_hub.logs import get_logger
from django_hub.stores.base import Store

logger = get_logger(__name__)

# Hubs asked about in one call.
_PAGE = 500


class Account:
    """``clients`` are those that join again where the store lost them. One `look` at a time."""

    def __init__(self, store: Store, accepted: Accepted, clients: Sized) -> None:
        self._store = store
        self._accepted = accepted
        self._clients = clients
        self._epoch = ""
        self._suspected: dict[str, int] | None = None

    async def begin(self) -> None:
        """Know the store by its data. Raises `Unavailable`."""
        # From one life of the relay to the next it may lose these as well.
        self._epoch = self._epoch or await self._store.epoch()

    def suspect(self) -> None:
        """The store was away: only what was accepted up to now can be gone."""
        if self._suspected is None:
            self._suspected = self._accepted.now()

    async def look(self) -> None:
        """Forget what is handled; and where the store lost its data, say how much of this is gone. Raises
        `Unavailable`."""
        counts = self._accepted.now() if self._suspected is None else self._suspected
        waiting: dict[str, int] = {}
        hubs = list(counts)
        for start in range(0, len(hubs), _PAGE):
            waiting |= await self._store.waiting_in(hubs[start : start + _PAGE])
        # In this order: a store that is emptied meanwhile has no mail because of that.
        epoch = await self._store.epoch()
        if epoch != self._epoch:
            logger.error(
                "The store has lost its data, and with it the events that waited there: at most %d, of %d "
                "hubs, that this process had accepted. Its %d clients join again.",
                sum(counts.values()),
                len(counts),
                len(self._clients),
            )
            self._epoch = epoch
            waiting = {}
        self._accepted.settle(counts, waiting)
        self._suspected = None
