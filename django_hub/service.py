"""The service of hubs in a worker: claims hubs with mail, handles their events, commits."""

from __future__ import annotations

import asyncio
import contextvars
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from channels.db import aclose_old_connections

from django_hub.backoff import waits
from django_hub.batching import Batcher
from django_hub.bells import Bells
from django_hub.deadletters import Deadly, dead_letter
from django_hub.effects import Effects
from django_hub.events import Event, read_body
from django_hub.exceptions import Unavailable, UnreadableEvent
from django_hub.logs import get_logger
from django_hub.stores.base import Store
from django_hub.stores.ops import Claim, Commit, DeadLetter, Lease, Letter
from django_hub.tallies import tallies

logger = get_logger(__name__)

# Database connections may have been cut off meanwhile, in seconds.
_STALE = 1.0
# An event that was in hand when so many leases ran out, one after another, is not handled once more: what
# ends or blocks a worker does so to each of them.
_TRIES = 3

Item = TypeVar("Item")


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
    after a crash at most one batch of a hub is handled again: each of its events is then committed by
    itself, and the one with which three workers died, or lost their lease, becomes a dead letter.
    """

    def __init__(
        self, handle: Callable[[Event], Awaitable[None]], store: Store, bells: Bells, most: int
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
        self._refreshed = 0.0

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
            await self._ring_for_the_rest()
        if self._renewing is not None:
            self._renewing.cancel()

    async def _ring_for_the_rest(self) -> None:
        """The others need not wait for their next look."""
        try:
            self._bells.ring(await self._store.unclaimed())
        except Exception as error:  # noqa: BLE001 (whatever it is, the hubs are given back)
            logger.warning("What is left is not rung for, for now: %s", error)

    def _start(self, hub: str) -> None:
        serving = self._serving[hub] = _Serving()
        # In a context of its own: not in that of the client whose wake it was.
        # Named, for asyncio's debug mode tells of tasks that block.
        serving.task = asyncio.create_task(
            self._serve(hub, serving), name=f"hub {hub}", context=contextvars.Context()
        )
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())

    async def _serve(self, hub: str, serving: _Serving) -> None:
        try:
            serving.again = True
            while serving.again and not self._closing:
                serving.again = serving.lost = False
                await self._drain(hub, serving)
        except Exception:
            logger.exception("Hub %s is put aside until it is rung for again", hub)
        finally:
            del self._serving[hub]
            if self._queued and not self._closing:
                following = next(iter(self._queued))
                del self._queued[following]
                self._start(following)
            if not self._serving and self._renewing is not None:
                self._renewing.cancel()
                self._renewing = None

    async def _drain(self, hub: str, serving: _Serving) -> None:
        claim = await self._asked(self._claims, hub)
        suspects = 0
        while claim.lease is Lease.HELD:
            serving.token = claim.token
            await self._refresh_connections()
            if claim.tries > 1:
                # Which of them ended the last worker is not known.
                suspects = claim.batch[-1].position
            if claim.batch and claim.batch[0].position <= suspects:
                claim = replace(claim, batch=claim.batch[:1])
            commit = await self._handled(claim, serving)
            if serving.lost:
                logger.warning("Hub %s was taken over while %d events were handled", hub, len(claim.batch))
                break
            claim = await self._asked(self._commits, commit)
        # An answer to a renewal may be on its way: it is not of the next lease.
        serving.token = ""

    async def _handled(self, claim: Claim, serving: _Serving) -> Commit:
        """Handle a batch, or what there is time for of it."""
        dead: list[DeadLetter] = []
        done = 0
        cancelled: BaseException | None = None
        events: list[Event | Exception] = [_read(claim.hub, letter) for letter in claim.batch]
        if claim.tries > _TRIES:
            events[0] = Deadly(f"{claim.tries - 1} workers died, or lost the hub's lease, with it in hand")
        async with Effects(self._store, claim.hub, claim.addresses):
            for letter, event in zip(claim.batch, events, strict=True):
                if self._closing or serving.lost:
                    break
                try:
                    if isinstance(event, Exception):
                        raise event
                    await self._handle(event)
                except (Exception, asyncio.CancelledError, SystemExit) as error:
                    task = asyncio.current_task()
                    if task is not None and task.cancelling():
                        cancelled = error
                        break
                    # A cancellation that is not ours, of a task the handler awaited, is a failure as any;
                    # and code that wants to end its process must not end all the others' sockets.
                    logger.exception("Event %d of hub %s failed: a dead letter", letter.position, claim.hub)
                    tallies.dead_letters += 1
                    dead.append(dead_letter(claim.hub, letter, error))
                    self._refreshed = 0.0
                done = letter.position
        commit = Commit(claim.hub, claim.token, done, tuple(dead), release=self._closing or bool(cancelled))
        if cancelled is not None:
            # Behind the answers to what is done: after a crash before, it would be answered again.
            await self._asked(self._commits, commit)
            raise cancelled
        return commit

    async def _claim(self, hubs: Sequence[str]) -> list[Claim]:
        return await self._store.claim(hubs, self._worker)

    async def _asked(self, batcher: Batcher[Item, Claim], item: Item) -> Claim:
        """The store's answer, in the end; claims and commits can be repeated. Raises `Damaged`."""
        pauses = waits()
        while True:
            try:
                claim = await batcher.put(item)
                if claim.error is not None:
                    raise claim.error
                return claim
            except Unavailable as error:
                logger.warning("A hub's events wait for the store: %s", error)
                await asyncio.sleep(next(pauses))

    async def _renew(self) -> None:
        """Keep the leases of hubs whose handler is slow, and learn which were lost."""
        while True:
            await asyncio.sleep(self._store.limits.hub_lease / 3)
            asked = [(hub, serving.token) for hub, serving in self._serving.items() if serving.token]
            try:
                kept = await self._store.renew(asked)
            except Exception as error:  # noqa: BLE001 (whatever it is, the next one is worth a try)
                logger.warning("Leases not renewed: %s", error)
                continue
            for (hub, token), still_ours in zip(asked, kept, strict=True):
                serving = self._serving.get(hub)
                # The answer may be of a lease that was given back meanwhile, and taken anew.
                if serving is not None and serving.token == token:
                    serving.lost = not still_ours

    async def _refresh_connections(self) -> None:
        """Close database connections that are broken or too old, as Channels does before each message.

        Here once a second at most, and after a failure: it takes a hop to the database's thread.
        """
        now = asyncio.get_running_loop().time()
        if now - self._refreshed > _STALE:
            self._refreshed = now
            await aclose_old_connections()


def _read(hub: str, letter: Letter) -> Event | UnreadableEvent:
    try:
        return read_body(hub, letter.position, letter.body)
    except UnreadableEvent as error:
        return error
