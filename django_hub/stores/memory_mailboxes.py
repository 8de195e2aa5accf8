"""The mailboxes of the memory store, their leases, and the dead letters."""

from __future__ import annotations

import heapq
import secrets
from collections import deque
from collections.abc import Collection, Sequence

from django_hub.stores.memory_hubs import Held, HubState
from django_hub.stores.memory_state import MemoryState
from django_hub.stores.ops import Claim, Commit, DeadLetter, Lease

# Hubs whose dead letters are kept: whoever may name hubs must not fill the memory with their failures.
_GRAVEYARD = 100


class MemoryMailboxes(MemoryState):
    """See `Store.claim` and `Store.commit`."""

    async def claim(self, hubs: Sequence[str], worker: str, ring: str = "") -> list[Claim]:
        with self._lock:
            return [self._claim(name, worker, ring) for name in hubs]

    def _claim(self, name: str, worker: str, ring: str) -> Claim:
        hub = self._hubs.get(name)
        if hub is None or (hub.mail is None and not ring):
            return Claim(name, Lease.FREE)
        held = hub.held
        more = 0
        if held is None or (held.worker != worker and held.until <= self._clock()):
            held = hub.held = Held(secrets.token_hex(8), worker, 0.0, ring)
            more = 1
        elif held.worker != worker:
            return Claim(name, Lease.FREE)
        held.ring = ring
        if ring:
            self._taken.add(name)
        return self._next_batch(hub, held, more)

    async def commit(self, commits: Sequence[Commit]) -> list[Claim]:
        with self._lock:
            return [self._commit(commit) for commit in commits]

    def _commit(self, commit: Commit) -> Claim:
        hub = self._holding(commit.hub, commit.token)
        if hub is None or hub.held is None:
            return Claim(commit.hub, Lease.LOST)
        done = []
        while hub.mail and hub.mail[0].position <= commit.position:
            done.append(hub.mail.popleft())
        if done:
            self._bury(commit)
            if self._tails:
                failed = {letter.position for letter in commit.dead}
                self._tails.add(hub.name, done, failed, self._clock())
        if not hub.mail:
            hub.mail = None
            self._with_mail.pop(hub.name, None)
        if commit.release or (hub.mail is None and not hub.held.ring):
            hub.held = None
            hub.tried = 0, 0
            # Given back with mail left: the next look of anybody rings for it, without the usual wait.
            hub.rung = 0.0
            self._vanish_if_empty(hub)
            return Claim(commit.hub, Lease.FREE)
        return self._next_batch(hub, hub.held)

    def _next_batch(self, hub: HubState, held: Held, more: int = 0) -> Claim:
        held.until = self._clock() + self.limits.hub_lease
        mail = hub.mail or ()
        batch = tuple(letter for letter, _ in zip(mail, range(self.limits.batch), strict=False))
        members = ((letter.client_id, hub.members.get(letter.client_id)) for letter in batch)
        addresses = {client_id: member.address for client_id, member in members if member}
        return Claim(hub.name, Lease.HELD, held.token, batch, addresses, hub.try_mail(more))

    async def renew(self, leases: Sequence[tuple[str, str]]) -> list[bool]:
        with self._lock:
            return [self._renew(name, token) for name, token in leases]

    def _renew(self, name: str, token: str) -> bool:
        hub = self._holding(name, token)
        if hub is None or hub.held is None:
            return False
        hub.held.until = self._clock() + self.limits.hub_lease
        return True

    async def unclaimed(self) -> list[tuple[str, str]]:
        with self._lock:
            now = self._clock()
            found = []
            for name in self._with_mail:
                hub = self._hubs[name]
                free = hub.held is None or hub.held.until <= now
                if free and hub.rung <= now - self.limits.ring_again:
                    hub.rung = now
                    found.append((name, hub.events))
            return found

    async def waiting_in(self, hubs: Collection[str]) -> dict[str, int]:
        with self._lock:
            found = {name: self._hubs.get(name) for name in hubs}
            return {name: len(hub.mail or ()) if hub else 0 for name, hub in found.items()}

    async def with_mail(self, after: str = "", most: int = 1000) -> list[str]:
        with self._lock:
            return heapq.nsmallest(most, (name for name in self._with_mail if name > after))

    async def waiting(self) -> int:
        with self._lock:
            return len(self._with_mail)

    async def dead_letters(self, hub: str) -> list[DeadLetter]:
        with self._lock:
            self._forget_dead_letters(hub)
            return list(self._dead.get(hub, ()))

    async def drop_dead_letters(self, hub: str) -> int:
        with self._lock:
            return len(self._dead.pop(hub, ()))

    def _bury(self, commit: Commit) -> None:
        if commit.dead:
            graves = self._dead.setdefault(commit.hub, deque(maxlen=self.limits.dead_letters))
            graves.extend(commit.dead)
            # The newest last, so that hubs which nobody visits any more are the first to be forgotten.
            self._dead[commit.hub] = self._dead.pop(commit.hub)
            if len(self._dead) > _GRAVEYARD:
                del self._dead[next(iter(self._dead))]

    def _forget_dead_letters(self, hub: str) -> None:
        letters = self._dead.get(hub)
        oldest = self._clock() - self.limits.dead_letter_ttl
        while letters and letters[0].at <= oldest:
            letters.popleft()
        if letters is not None and not letters:
            del self._dead[hub]
