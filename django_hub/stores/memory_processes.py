"""The processes that the memory store knows, and what becomes of those that died."""

from __future__ import annotations

from collections.abc import Sequence

from django_hub.events import left_body, lost_body
from django_hub.stores.base import Bury
from django_hub.stores.memory_hubs import HubState
from django_hub.stores.memory_mailboxes import MemoryMailboxes
from django_hub.stores.ops import Applied
from django_hub.stores.visits import Held, Visit

# Logs looked at by one reaping; those that begin look at others, too.
_LOGS = 1000


class MemoryProcesses(MemoryMailboxes):
    """See `Store.reap`: it looks after the mailboxes that nobody else would, too."""

    async def beat(self, process: str) -> int:
        with self._lock:
            self._processes[process] = self._clock() + self.limits.process_lease
            if process not in self._lives:
                self._life += 1
                self._lives[process] = self._life
            return self._lives[process]

    async def reap(self, bury: Bury | None = None) -> list[tuple[str, str]]:
        if bury is not None:
            with self._lock:
                dead = {
                    process: {hub for hub, _ in self._members_of.get(process, ())}
                    for process, until in self._processes.items()
                    if until <= self._clock()
                }
            for process, hubs in dead.items():
                await bury(process, self._clock(), hubs)
        with self._lock:
            now = self._clock()
            applied = Applied(outcomes=[])
            for process in [name for name, until in self._processes.items() if until <= now]:
                del self._processes[process]
                self._lives.pop(process, None)
                self._visits.bury(process)
                self._grave |= self._members_of.pop(process, set())
            for name, client_id in list(self._grave):
                self._clear(self._hubs[name], client_id, now, applied)
            for key, (_, until) in list(self._lost.items()):
                if until <= now:
                    del self._lost[key]
            for name in list(self._dead):
                self._forget_dead_letters(name)
            for name in list(self._taken):
                self._free_if_dead(name, now)
            self._logs.sweep(_LOGS, now)
            self._tails.sweep(now)
            return applied.wakes

    async def visit(self, process: str, held: Held, visits: Sequence[Visit]) -> list[int | None]:
        with self._lock:
            return self._visits.visit(process, held, visits)

    def _clear(self, hub: HubState, client_id: str, now: float, applied: Applied) -> None:
        """A member of a dead process: gone, or lost at first, where it has a grace."""
        member = hub.members[client_id]
        if member.until is None and member.grace > 0:
            member.until = now + member.grace
            self._append(hub, client_id, lost_body(member.who, now, "lost"), applied)
        elif member.until is None or member.until <= now:
            self._remove(hub, client_id)
            self._remember(hub.name, member)
            self._append(hub, client_id, left_body(member.who, now, "lost"), applied)

    def _free_if_dead(self, name: str, now: float) -> None:
        hub = self._hubs.get(name)
        held = hub.held if hub else None
        if hub is None or held is None or not held.ring:
            self._taken.discard(name)
        elif held.until <= now and not (hub.named or hub.members or hub.mail):
            self._taken.discard(name)
            hub.held = None
            self._vanish_if_empty(hub)
