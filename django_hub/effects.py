"""Effects: what the handlers of a batch of events send.

A handler that waited for each message to reach the channel layer would be held to a few hundred events a
second by round trips. So what handlers send is checked at once, queued in its order, and waited for before
the batch is committed: a crash before has the events handled again, so no answer is lost with its event.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from contextvars import ContextVar

from django_hub.logs import get_logger
from django_hub.stores.base import Store
from django_hub.stores.ops import Address

logger = get_logger(__name__)

# What one batch may have queued before its handlers wait.
_MOST = 500

# So long, in seconds, a client is taken to be where it was.
_FRESH = 1.0

_current: ContextVar[Effects | None] = ContextVar("django_hub.effects", default=None)


class Effects:
    """Those of one batch of a hub's events; ``known`` tells where the clients of these events are."""

    def __init__(self, store: Store, hub: str, known: Mapping[str, Address]) -> None:
        self.hub = hub
        self._store = store
        self._known = dict(known)
        self._clock = asyncio.get_running_loop().time
        self._stale = self._clock() + _FRESH
        self._sent: deque[asyncio.Future[Exception | None]] = deque()
        self.over = False

    async def address(self, client_id: str) -> Address | None:
        """Where a client of the hub is, as of a second ago at most."""
        if self._clock() > self._stale:
            # A slow handler's batch takes minutes, and clients reconnect under their ids.
            self._known.clear()
            self._stale = self._clock() + _FRESH
        if client_id not in self._known:
            # Who is not there is not remembered: a client may join while the batch is handled.
            member = await self._store.member(self.hub, client_id)
            if member is None:
                return None
            self._known[client_id] = Address(member.process, member.connection)
        return self._known[client_id]

    async def add(self, sent: Iterable[asyncio.Future[Exception | None]]) -> None:
        """Take what was handed to the sender; wait only if much is under way already."""
        self._sent.extend(sent)
        if len(self._sent) > _MOST:
            await self.done()

    async def done(self) -> None:
        """Return when all was taken by the layer, or failed to be, which is logged."""
        while self._sent:
            # One that is cancelled here leaves the others to who waits next.
            error = await asyncio.shield(self._sent[0])
            self._sent.popleft()
            if error is not None:
                logger.error("An answer to events of hub %s was not sent: %s", self.hub, error)

    async def __aenter__(self) -> None:
        self._token = _current.set(self)

    async def __aexit__(self, *_: object) -> None:
        # Tasks that a handler started and left behind have this context too: they wait by themselves.
        self.over = True
        _current.reset(self._token)
        await self.done()


def effects_in_hand() -> Effects | None:
    """Those of the batch that is being handled here, in code that a handler runs."""
    effects = _current.get()
    return None if effects is None or effects.over else effects
