"""Hub: the handle that `hub_create` and `current_hub` give."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from django_hub.deadletters import dead_letter
from django_hub.events import Event, read_body
from django_hub.exceptions import UnreadableEvent
from django_hub.layer import get_layer
from django_hub.names import DEFAULT_EVENTS
from django_hub.relay import get_relay
from django_hub.stores.ops import Claim, Commit, DeadLetter, HubRecord, Lease
from django_hub.stores.registry import get_store


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub by its name. It is a handle, not a copy: what it answers is asked of the store."""

    name: str
    events_channel: str = DEFAULT_EVENTS

    @classmethod
    def of(cls, record: HubRecord) -> Hub:
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

        While this runs the hub's mail is this code's and no worker's; afterwards it is the worker's again.
        An event counts as handled when the next one is asked for: leaving the loop with an exception
        hands the last one out again, to whoever comes next.
        """
        store, layer, bells = get_store(), get_layer(), get_relay().bells
        worker = uuid.uuid4().hex
        channel = await layer.new_channel()
        before = await store.hub(self.name)
        await store.create(self.name, channel)
        claim = Claim(self.name, Lease.FREE)
        done, dead = 0, []
        try:
            while True:
                if claim.lease is not Lease.HELD:
                    (claim,) = await store.claim([self.name], worker)
                if claim.lease is not Lease.HELD:
                    # A wake, or the time after which a lost one would be rung again.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(store.limits.ring_again):
                            await layer.receive(channel)
                    continue
                for letter in claim.batch:
                    try:
                        event = read_body(self.name, letter.position, letter.body)
                    except UnreadableEvent as error:
                        dead.append(dead_letter(self.name, letter, error))
                    else:
                        yield event
                    done = letter.position
                (claim,) = await store.commit([Commit(self.name, claim.token, done, tuple(dead))])
                dead = []
        finally:
            if claim.lease is Lease.HELD:
                await store.commit([Commit(self.name, claim.token, done, tuple(dead), release=True)])
            if before is not None:
                await store.create(self.name, before.events)
                bells.ring([(self.name, before.events)])
            if before is None or not before.named:
                await store.destroy(self.name)
