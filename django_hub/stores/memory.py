"""The store of one process: plain dicts behind a lock.

It serves the in-memory channel layer, and is the plainest reading of the contract: the Redis store's
scripts are written against it. Every operation is one short synchronous step, so atomic by itself on
one loop; the lock is for other threads (`django_hub.sync`, and loops of their own).

An idle hub must be cheap (many hubs with few users is what the original is bad at): no mailbox object
while it is empty, no lease object while nobody holds it, no task ever.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from django_hub.exceptions import Damaged
from django_hub.names import DEFAULT_EVENTS
from django_hub.stores.memory_members import MemoryMembers
from django_hub.stores.memory_processes import MemoryProcesses
from django_hub.stores.memory_survey import MemorySurvey
from django_hub.stores.ops import History, HubRecord, Number, Publication


class MemoryStore(MemoryMembers, MemoryProcesses, MemorySurvey):
    """All of the contract for one process, from any thread or loop. Nothing outlives the process.

    Its parts, each a file: `MemoryState`, and on it `MemoryMembers`, `MemoryMailboxes`,
    `MemoryProcesses`, `MemorySurvey`.
    """

    any_loop = True

    # Hubs

    async def create(
        self,
        name: str,
        events: str | None,
        history_size: int | None = None,
        history_ttl: float | None = None,
    ) -> HubRecord:
        with self._lock:
            hub = self._hub(name, events or DEFAULT_EVENTS)
            hub.named = True
            if events:
                hub.events = events
            if history_size is not None or history_ttl is not None:
                size, ttl = hub.history or (None, None)
                hub.history = (
                    size if history_size is None else history_size,
                    ttl if history_ttl is None else history_ttl,
                )
            return hub.record()

    async def destroy(self, name: str) -> bool:
        with self._lock:
            hub = self._hubs.get(name)
            if hub is None:
                return False
            hub.named = False
            self._vanish_if_empty(hub)
            return True

    async def hub(self, name: str) -> HubRecord | None:
        with self._lock:
            hub = self._hubs.get(name)
            return hub.record() if hub else None

    async def hubs(self, after: str = "", most: int = 1000) -> list[HubRecord]:
        with self._lock:
            return [self._hubs[name].record() for name in self._page(after, most)]

    # For a while

    async def ban(self, hub: str, subject: str, seconds: float, reason: str) -> None:
        with self._lock:
            now = self._clock()
            self._marks.put(("ban", hub, subject), reason, now + seconds, now)

    async def unban(self, hub: str, subject: str) -> bool:
        with self._lock:
            return self._marks.take(("ban", hub, subject), self._clock())

    async def bans(self, asked: Sequence[tuple[str, str]]) -> list[str | Damaged | None]:
        with self._lock:
            return [self._marks.get(("ban", *each), self._clock()) for each in asked]

    async def spend(self, ticket: str, by: str, seconds: float) -> bool:
        with self._lock:
            now = self._clock()
            if (first := self._marks.get(("ticket", ticket), now)) is None:
                self._marks.put(("ticket", ticket), by, now + seconds, now)
            return first in (None, by)

    # Logs

    async def publish(self, publications: Sequence[Publication]) -> list[Number | Damaged | None]:
        with self._lock:
            now = self._clock()
            return [self._publish(publication, now) for publication in publications]

    def _publish(self, publication: Publication, now: float) -> Number | None:
        hub = self._hubs.get(publication.hub)
        if not publication.client_id:
            return self._logs.publish(publication, *self._kept(hub), now)
        member = hub.members.get(publication.client_id) if hub else None
        if member is None:
            return None
        number = self._logs.publish(publication, *self._kept(hub), now)
        return replace(number, process=member.address.process)

    async def history(self, hub: str, after: int) -> History:
        return await self.sent(hub, "", after)

    async def sent(self, hub: str, client_id: str, after: int) -> History:
        with self._lock:
            _, ttl = self._kept(self._hubs.get(hub))
            return self._logs.history(hub, client_id, after, ttl, self._clock())

    async def positions(self, hubs: Collection[str]) -> dict[str, Number]:
        with self._lock:
            now = self._clock()
            found = {
                name: self._logs.position(name, self._kept(self._hubs.get(name))[1], now) for name in hubs
            }
            return {name: number for name, number in found.items() if number is not None}

    async def told(self, since: Mapping[str, int]) -> dict[str, dict[str, int]]:
        with self._lock:
            return {
                name: {hub.members[client_id].address.connection: seq for client_id, seq in told.items()}
                for name, after in since.items()
                if (hub := self._hubs.get(name)) and (told := self._logs.told(name, after))
            }

    async def epoch(self) -> str:
        return "the process's"

    async def close(self) -> None:
        """Nothing to let go of."""
