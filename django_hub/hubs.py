"""Hub: the handle that `hub_create` and `current_hub` give."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

from django_hub.backoff import waits
from django_hub.bells import RING
from django_hub.deadletters import dead_letter
from django_hub.endings import end
from django_hub.events import Event, read_body
from django_hub.exceptions import Unavailable, UnreadableEvent
from django_hub.layers.base import Layer
from django_hub.layers.choice import get_layer
from django_hub.logs import get_logger
from django_hub.names import DEFAULT_EVENTS, require_hub_name
from django_hub.relay import get_relay
from django_hub.stores.base import Store
from django_hub.stores.ops import Commit, DeadLetter, HubRecord, Lease
from django_hub.stores.registry import get_store

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub by its name. It is a handle, not a copy: what it answers is asked of the store.

    Raises `InvalidName`.
    """

    name: str
    events_channel: str = DEFAULT_EVENTS

    def __post_init__(self) -> None:
        # The functions that take a Hub in a name's place do not look at it again.
        require_hub_name(self.name)

    @classmethod
    def of(cls, record: HubRecord) -> Hub:
        """The handle of a store's record."""
        return cls(record.name, record.events)

    async def count(self) -> int:
        """How many members it has."""
        return await get_store().count(self.name)

    async def dead_letters(self) -> list[DeadLetter]:
        """The events whose handler failed, oldest first; the newest hundred, for a week, by default."""
        return await get_store().dead_letters(self.name)

    async def events(self) -> AsyncIterator[Event]:
        """Take the hub's events, one after another, for code that is no worker consumer.

            async with contextlib.aclosing(hub.events()) as events:
                async for event in events: ...

        While this runs the hub's mail is this code's and no worker's; afterwards, or when its process
        died and `HUB_LEASE` is over, it is the worker's again. An event counts as handled when the next one
        is asked for: leaving the loop, in whatever way, hands the last one out again, to who comes next.
        Creates the hub by name if need be. Raises `RuntimeError` where the hub's mail is taken already,
        `Damaged` where the hub is.
        """
        store, layer = get_store(), get_layer()
        if await store.hub(self.name) is None:
            await store.create(self.name, None)
        channel = RING + uuid.uuid4().hex
        (claim,) = await store.claim([self.name], channel, channel)
        if claim.error is not None:
            raise claim.error
        if claim.lease is not Lease.HELD:
            raise RuntimeError(
                f"Somebody else handles the events of hub {self.name!r} now. Try again when that is over, "
                "or give the hub a channel that no worker serves: hub_create(name, events=...)."
            )
        renewing = asyncio.create_task(_renew(store, self.name, claim.token))
        ringing = asyncio.create_task(_rung(layer, channel))
        done = 0
        dead: list[DeadLetter] = []
        try:
            while claim.lease is Lease.HELD:
                for letter in claim.batch:
                    try:
                        event = read_body(self.name, letter.position, letter.body)
                    except UnreadableEvent as error:
                        dead.append(dead_letter(self.name, letter, error))
                    else:
                        yield event
                    done = letter.position
                if not claim.batch:
                    # A wake, or the time after which a lost one is looked for.
                    await asyncio.wait([ringing], timeout=store.limits.ring_again)
                    if ringing.done():
                        ringing = asyncio.create_task(_rung(layer, channel))
                (claim,) = await store.commit([Commit(self.name, claim.token, done, tuple(dead))])
                dead = []
                if claim.error is not None:
                    raise claim.error
            raise RuntimeError(
                f"The events of hub {self.name!r} were taken over: this was silent too long."
            )
        finally:
            await end([renewing, ringing])
            try:
                if claim.lease is Lease.HELD:
                    await store.commit([Commit(self.name, claim.token, done, tuple(dead), release=True)])
                    get_relay().bells.ring(await store.unclaimed())
            finally:
                # Last: nobody is to wait for the hub because the layer is away. What it rang is nobody's.
                with contextlib.suppress(Unavailable):
                    await layer.stop(channel)


HubName: TypeAlias = "Hub | str"


def name_of(hub: HubName) -> str:
    """Raises `InvalidName`."""
    return hub.name if isinstance(hub, Hub) else require_hub_name(hub)


async def _rung(layer: Layer, channel: str) -> None:
    """Return when the channel was rung on, however long the layer is away."""
    pauses = waits()
    while True:
        try:
            await layer.receive(channel)
        except Unavailable as error:
            logger.warning("Nothing comes on %s, for now: %s", channel, error)
        except Exception:
            logger.exception("The channel layer gave nothing on %s; trying again", channel)
        else:
            return
        await asyncio.sleep(next(pauses))


async def _renew(store: Store, hub: str, token: str) -> None:
    while True:
        await asyncio.sleep(store.limits.hub_lease / 3)
        with contextlib.suppress(Unavailable):
            await store.renew([(hub, token)])
