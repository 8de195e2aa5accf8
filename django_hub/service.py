"""The service of hubs in a worker: claims hubs with mail, handles their events, commits."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence

from channels.db import aclose_old_connections

from django_hub.backoff import waits
from django_hub.batching import Batcher
from django_hub.bells import Bells
from django_hub.deadletters import dead_letter
from django_hub.events import Event, read_body
from django_hub.exceptions import Unavailable
from django_hub.stores.base import Store
from django_hub.stores.ops import Claim, Commit, DeadLetter, Lease

logger = logging.getLogger(__name__)

# After a worker was idle for so long, in seconds, its database connections may have been cut off.
_STALE = 1.0


class _Serving:
    """One hub being handled: ``again`` when it was woken meanwhile, ``lost`` when its lease is."""

    __slots__ = ("again", "lost", "task", "token")

    def __init__(self) -> None:
        self.again = False
        self.lost = False
        self.token = ""
        self.task: asyncio.Task[None] | None = None


class HubService:
    """Handles the events of the hubs it is woken for: many hubs side by side, one event of a hub at a time.

    ``handle`` gets each event, in the order of the hub's mailbox. If it raises, that is logged, the event
    becomes a dead letter, and the next one follows. All events of a batch are committed together, so
    after a crash at most one batch of a hub is handled again.
    """

    def __init__(
        self,
        handle: Callable[[Event], Awaitable[None]],
        store: Store,
        bells: Bells,
        most: int,
    ) -> None:
        self._handle = handle
        self._store = store
        self._bells = bells
        self._most = most
        self._worker = uuid.uuid4().hex
        self._serving: dict[str, _Serving] = {}
        self._queued: dict[str, None] = {}
        self._claims: Batcher[str, Claim] = Batcher(self._claim)
        self._commits: Batcher[Commit, Claim] = Batcher(store.commit)
        self._renewing: asyncio.Task[None] | None = None
        self._closing = False
        self._idle_since = 0.0

    def wake(self, hubs: Iterable[str]) -> None:
        """Handle these hubs' mail, now or as soon as there is room."""
        for hub in hubs:
            serving = self._serving.get(hub)
            if serving is not None:
                # The mail may have come after our last look, and its bell won't be rung twice.
                serving.again = True
            elif len(self._serving) < self._most and not self._closing:
                self._start(hub)
            else:
                self._queued[hub] = None

    async def close(self, grace: float) -> None:
        """Finish the events in hand within ``grace`` seconds, and give all leases back."""
        self._closing = True
        tasks = [serving.task for serving in self._serving.values() if serving.task]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)
        if self._renewing is not None:
            self._renewing.cancel()

    def _start(self, hub: str) -> None:
        serving = self._serving[hub] = _Serving()
        serving.task = asyncio.create_task(self._serve(hub, serving))
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())

    async def _serve(self, hub: str, serving: _Serving) -> None:
        try:
            await self._refresh_connections()
            serving.again = True
            while serving.again and not self._closing:
                serving.again = False
                await self._drain(hub, serving)
        except Unavailable as error:
            logger.warning("Hub %s waits for the store: %s", hub, error)
        except Exception:
            logger.exception("Hub %s is put aside until it is rung for again", hub)
        finally:
            del self._serving[hub]
            if self._queued and not self._closing:
                following = next(iter(self._queued))
                del self._queued[following]
                self._start(following)
            if not self._serving:
                self._rest()

    async def _drain(self, hub: str, serving: _Serving) -> None:
        claim = await self._claims.put(hub)
        while claim.lease is Lease.HELD:
            serving.token = claim.token
            commit = await self._handled(claim, serving)
            if serving.lost:
                logger.warning("Hub %s was taken over while %d events were handled", hub, len(claim.batch))
                return
            claim = await self._committed(commit)
        serving.token = ""

    async def _handled(self, claim: Claim, serving: _Serving) -> Commit:
        """Handle a batch, or what there is time for of it."""
        dead: list[DeadLetter] = []
        done = 0
        for letter in claim.batch:
            if self._closing or serving.lost:
                break
            try:
                await self._handle(read_body(claim.hub, letter.position, letter.body))
            except asyncio.CancelledError:
                await self._committed(Commit(claim.hub, claim.token, done, tuple(dead), release=True))
                raise
            except Exception as error:
                logger.exception("Event %d of hub %s failed: a dead letter", letter.position, claim.hub)
                dead.append(dead_letter(claim.hub, letter, error))
            done = letter.position
        return Commit(claim.hub, claim.token, done, tuple(dead), release=self._closing)

    async def _claim(self, hubs: Sequence[str]) -> list[Claim]:
        return await self._store.claim(hubs, self._worker)

    async def _committed(self, commit: Commit) -> Claim:
        pauses = waits()
        while True:
            try:
                return await self._commits.put(commit)
            except Unavailable as error:
                logger.warning("A commit of hub %s waits for the store: %s", commit.hub, error)
                await asyncio.sleep(next(pauses))

    async def _renew(self) -> None:
        """Keep the leases of hubs whose handler is slow, and learn which were lost."""
        while True:
            await asyncio.sleep(self._store.limits.hub_lease / 3)
            held = [(hub, serving) for hub, serving in self._serving.items() if serving.token]
            try:
                kept = await self._store.renew([(hub, serving.token) for hub, serving in held])
            except Unavailable as error:
                logger.warning("Leases not renewed: %s", error)
                continue
            for (_, serving), still_ours in zip(held, kept, strict=True):
                serving.lost = serving.lost or not still_ours

    async def _refresh_connections(self) -> None:
        now = asyncio.get_running_loop().time()
        if len(self._serving) == 1 and now - self._idle_since > _STALE:
            await aclose_old_connections()

    def _rest(self) -> None:
        """Nothing to do: no task is left, and no database connection that should not be kept."""
        self._idle_since = asyncio.get_running_loop().time()
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
