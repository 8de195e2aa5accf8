"""The state of the memory store, and the steps that its parts take on it."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable

from django_hub.events import read_description
from django_hub.limits import Limits
from django_hub.members import Member
from django_hub.names import session_of
from django_hub.stores.base import Store
from django_hub.stores.memory_hubs import HubState, MemberState
from django_hub.stores.memory_logs import Logs
from django_hub.stores.memory_marks import Marks
from django_hub.stores.memory_tails import Tails
from django_hub.stores.memory_visits import MemoryVisits
from django_hub.stores.ops import Applied, DeadLetter, Join, Letter


class MemoryState(Store):
    """All that is known, behind one lock: the public methods take it, all others run under it."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits or Limits()
        self._clock = clock
        self._lock = threading.Lock()
        self._hubs: dict[str, HubState] = {}
        self._with_mail: dict[str, None] = {}
        # The hubs a client id is in, in the order in which it came.
        self._hubs_of: dict[str, tuple[str, ...]] = {}
        self._processes: dict[str, float] = {}
        # Lives of those that beat since they were last declared dead, if ever.
        self._lives: dict[str, int] = {}
        self._life = 0
        # The numbers of the last messages of lost connections, and of sessions; how long they are kept.
        self._lost: dict[tuple[str, str], tuple[int, float]] = {}
        self._members_of: dict[str, set[tuple[str, str]]] = {}
        # Lost members of dead processes: their grace is for `reap` to end.
        self._grave: set[tuple[str, str]] = set()
        self._logs = Logs(self.limits)
        self._marks = Marks()
        self._tails = Tails()
        # Hubs whose lease is held without mail: nobody rings for them when their holder is dead.
        self._taken: set[str] = set()
        self._dead: dict[str, deque[DeadLetter]] = {}
        self._visits = MemoryVisits(clock, self._lives_on)
        # One counter for all hubs, begun at the clock: ids go on rising when a hub vanishes and is back.
        self._position = int(clock() * 1_000_000)

    def _hub(self, name: str, events: str) -> HubState:
        hub = self._hubs.get(name)
        if hub is None:
            hub = self._hubs[name] = HubState(name, events)
        return hub

    def _page(self, after: str, most: int) -> list[str]:
        return heapq.nsmallest(most, (name for name in self._hubs if name > after))

    def _member(self, hub: str, client_id: str) -> Member | None:
        found = self._hubs.get(hub)
        member = found.members.get(client_id) if found else None
        return self._known(hub, client_id, member) if member else None

    @staticmethod
    def _known(hub: str, client_id: str, member: MemberState) -> Member:
        _, user_id, meta, presence = read_description(member.who)
        return Member(
            hub=hub,
            client_id=client_id,
            user_id=user_id,
            meta=meta,
            process=member.address.process,
            connection=member.address.connection,
            at=member.at,
            state="online" if member.until is None else "lost",
            presence=presence,
        )

    def _posted_by_lost(self, hub: str, connection: str) -> int:
        posted, until = self._lost.get((hub, session_of(connection) or connection), (0, 0.0))
        return posted if until > self._clock() else 0

    def _remember(self, hub: str, member: MemberState) -> None:
        if member.posted:
            connection = member.address.connection
            key = hub, session_of(connection) or connection
            self._lost[key] = member.posted, self._clock() + self.limits.lost_ttl

    def _enter(self, op: Join) -> None:
        self._members_of.setdefault(op.process, set()).add((op.hub, op.client_id))
        # A process that joins members lives, also where its first beat is still to come.
        self._processes.setdefault(op.process, self._clock() + self.limits.process_lease)

    def _remove(self, hub: HubState, client_id: str) -> None:
        member = hub.members.pop(client_id)
        hubs = tuple(name for name in self._hubs_of[client_id] if name != hub.name)
        if hubs:
            self._hubs_of[client_id] = hubs
        else:
            del self._hubs_of[client_id]
        self._logs.forget(hub.name, client_id)
        self._forget_whose((hub.name, client_id), member)

    def _forget_whose(self, key: tuple[str, str], member: MemberState) -> None:
        if key in self._grave:
            self._grave.remove(key)
            return
        mates = self._members_of[member.address.process]
        mates.remove(key)
        if not mates:
            del self._members_of[member.address.process]

    def _append(self, hub: HubState, client_id: str, body: str, applied: Applied) -> None:
        now = self._clock()
        self._position = max(self._position + 1, int(now * 1_000_000))
        if hub.mail is None:
            hub.mail = deque()
            hub.rung = now
            self._with_mail[hub.name] = None
            rung_at = hub.held.ring if hub.held and hub.held.until > now else ""
            applied.wakes.append((hub.name, rung_at or hub.events))
        hub.mail.append(Letter(self._position, client_id, body))

    def _holding(self, name: str, token: str) -> HubState | None:
        hub = self._hubs.get(name)
        return hub if hub and hub.held and hub.held.token == token else None

    def _lives_on(self, process: str) -> bool:
        return self._processes.get(process, 0.0) > self._clock()

    def _vanish_if_empty(self, hub: HubState) -> None:
        if not (hub.named or hub.members or hub.mail or hub.held):
            self._hubs.pop(hub.name, None)

    def _kept(self, hub: HubState | None) -> tuple[int, float]:
        """Size and ttl of a hub's history."""
        size, ttl = (hub and hub.history) or (None, None)
        return (
            self.limits.history_size if size is None else size,
            self.limits.history_ttl if ttl is None else ttl,
        )
