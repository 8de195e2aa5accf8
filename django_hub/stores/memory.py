"""The store of one process: plain dicts behind a lock.

It serves the in-memory channel layer, and is the plainest reading of the contract: the Redis store's
scripts are written against it. Every operation is one short synchronous step, so atomic by itself on
one loop; the lock is for other threads (`django_hub.sync`, and loops of their own).

An idle hub must be cheap (many hubs with few users is what the original is bad at): no mailbox object
while it is empty, no lease object while nobody holds it, no task ever.
"""

from __future__ import annotations

import heapq
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from django_hub.events import Reason, left_body, lost_body, read_description
from django_hub.exceptions import Damaged
from django_hub.limits import Limits
from django_hub.members import Member
from django_hub.names import DEFAULT_EVENTS, session_of
from django_hub.stores.base import Bury, Store
from django_hub.stores.memory_logs import Logs
from django_hub.stores.memory_visits import MemoryVisits
from django_hub.stores.ops import (
    Address,
    Applied,
    Claim,
    Commit,
    DeadLetter,
    History,
    HubRecord,
    Join,
    Lease,
    Leave,
    Letter,
    Lose,
    Number,
    Op,
    Outcome,
    Post,
    Publication,
    Update,
)
from django_hub.stores.visits import Held, Visit

# How many of the connections it replaced a member remembers, so that a late, repeated Join of one of them
# is told apart from a new one. More than a client can open while one call is repeated.
_REMEMBERED = 8

# Hubs whose dead letters are kept: whoever may name hubs must not fill the memory with their failures.
_GRAVEYARD = 100

# Logs looked at by one reaping; those that begin look at others, too.
_LOGS = 1000


@dataclass(slots=True)
class _Held:
    """A worker's lease of one hub; ``ring`` is where its wakes go, if not to the hub's channel."""

    token: str
    worker: str
    until: float
    ring: str


class _Member:
    __slots__ = ("address", "at", "grace", "past", "posted", "until", "who")

    def __init__(self, op: Join, past: tuple[Address, ...], posted: int) -> None:
        self.address = Address(op.process, op.connection)
        self.at = op.at
        self.grace = op.grace
        self.past = past
        self.posted = posted
        # When a lost one's grace is over.
        self.until: float | None = None
        self.who = op.who


class _Hub:
    __slots__ = ("events", "held", "history", "mail", "members", "name", "named", "rung")

    def __init__(self, name: str, events: str) -> None:
        self.name = name
        self.events = events
        self.named = False
        self.members: dict[str, _Member] = {}
        self.mail: deque[Letter] | None = None
        self.held: _Held | None = None
        self.rung = 0.0
        # Size and ttl, where it has its own.
        self.history: tuple[int | None, float | None] | None = None

    def record(self) -> HubRecord:
        size, ttl = self.history or (None, None)
        return HubRecord(
            name=self.name, events=self.events, named=self.named, history_size=size, history_ttl=ttl
        )


class MemoryStore(Store):
    """All of the contract for one process, from any thread or loop. Nothing outlives the process."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits or Limits()
        self._clock = clock
        self._lock = threading.Lock()
        self._hubs: dict[str, _Hub] = {}
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
        # Hubs whose lease is held without mail: nobody rings for them when their holder is dead.
        self._taken: set[str] = set()
        self._dead: dict[str, deque[DeadLetter]] = {}
        self._visits = MemoryVisits(clock, self._lives_on)
        # One counter for all hubs, begun at the clock: ids go on rising when a hub vanishes and is back.
        self._position = int(clock() * 1_000_000)

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
            names = heapq.nsmallest(most, (name for name in self._hubs if name > after))
            return [self._hubs[name].record() for name in names]

    # Members

    async def member(self, hub: str, client_id: str) -> Member | None:
        with self._lock:
            return self._member(hub, client_id)

    async def members(self, hub: str, after: str = "", most: int = 1000) -> list[Member]:
        with self._lock:
            found = self._hubs.get(hub)
            ids = found.members if found else {}
            page = heapq.nsmallest(most, (client_id for client_id in ids if client_id > after))
            return [self._known(hub, client_id, ids[client_id]) for client_id in page]

    async def find(self, client_id: str) -> Member | None:
        with self._lock:
            found = (self._member(hub, client_id) for hub in reversed(self._hubs_of.get(client_id, ())))
            return max((member for member in found if member), key=lambda member: member.at, default=None)

    async def count(self, hub: str) -> int:
        with self._lock:
            found = self._hubs.get(hub)
            return len(found.members) if found else 0

    # The one ordered write path

    async def apply(self, ops: Sequence[Op]) -> Applied:
        applied = Applied(outcomes=[])
        with self._lock:
            for op in ops:
                match op:
                    case Join():
                        outcome = self._join(op, applied)
                        applied.logs[op.hub] = self._logs.peek(op.hub, self._clock())
                    case Post():
                        outcome = self._post(op, applied)
                    case Leave():
                        outcome = self._leave(op, applied)
                    case Lose():
                        outcome = self._lose(op, applied)
                    case Update():
                        outcome = self._update(op, applied)
                applied.outcomes.append(outcome)
        return applied

    def _join(self, op: Join, applied: Applied) -> Outcome:
        there = self._hubs.get(op.hub)
        old = there.members.get(op.client_id) if there else None
        crowd = len(there.members) if there else 0
        if old is None and not op.again and op.most is not None and crowd >= op.most:
            return Outcome.CROWDED
        hub = self._hub(op.hub, op.events)
        chain: tuple[Address, ...] = ()
        session = session_of(op.connection)
        posted = max(
            op.posted, self._posted_by_lost(op.hub, op.connection), self._posted_by_lost(op.hub, op.again)
        )
        if old is not None:
            chain = (*old.past, old.address)
            for index, address in enumerate(chain):
                if address.connection == op.connection:
                    # The reply that told of it may be lost.
                    applied.replaced.extend((op.hub, before) for before in chain[:index][-1:])
                    if address is not old.address:
                        return Outcome.REPLACED
                    before = session_of(chain[index - 1].connection) if index else ""
                    return Outcome.RESUMED if session and before == session else Outcome.DONE
            if op.again not in ("", old.address.connection):
                return Outcome.REPLACED
            if session and session == session_of(old.address.connection):
                return self._resume(op, old, chain, applied)
            self._remove(hub, op.client_id)
            reason: Reason = "lost" if op.again else "replaced"
            if op.again:
                posted = max(posted, old.posted)
            self._append(hub, op.client_id, left_body(old.who, self._clock(), reason), applied)
            applied.replaced.append((op.hub, old.address))
        hub.members[op.client_id] = _Member(op, chain[-_REMEMBERED:], posted)
        self._hubs_of[op.client_id] = (*self._hubs_of.get(op.client_id, ()), op.hub)
        self._enter(op)
        self._append(hub, op.client_id, op.body, applied)
        return Outcome.DONE

    def _resume(self, op: Join, member: _Member, chain: tuple[Address, ...], applied: Applied) -> Outcome:
        key = op.hub, op.client_id
        applied.replaced.append((op.hub, member.address))
        self._forget_whose(key, member)
        member.address = Address(op.process, op.connection)
        member.at, member.who, member.grace = op.at, op.who, op.grace
        member.past = chain[-_REMEMBERED:]
        member.posted = max(member.posted, op.posted)
        member.until = None
        self._enter(op)
        self._append(self._hubs[op.hub], op.client_id, op.resumed, applied)
        return Outcome.RESUMED

    def _whose(self, op: Post | Leave | Lose | Update) -> tuple[_Hub, _Member] | Outcome | None:
        """The hub and the member that the op is of; None where it is gone, or who has its place."""
        hub = self._hubs.get(op.hub)
        member = hub.members.get(op.client_id) if hub else None
        if hub is None or member is None:
            return None
        return (hub, member) if member.address.connection == op.connection else Outcome.REPLACED

    def _post(self, op: Post, applied: Applied) -> Outcome:
        known = self._whose(op)
        if not isinstance(known, tuple):
            return known or Outcome.UNKNOWN
        hub, member = known
        if op.number <= member.posted:
            return Outcome.DONE
        if hub.mail is not None and len(hub.mail) >= self.limits.mailbox:
            return Outcome.FULL
        member.posted = op.number
        self._append(hub, op.client_id, op.body, applied)
        return Outcome.DONE

    def _leave(self, op: Leave, applied: Applied) -> Outcome:
        known = self._whose(op)
        if not isinstance(known, tuple):
            return known or Outcome.DONE
        hub, member = known
        self._remove(hub, op.client_id)
        if session_of(op.connection):
            self._remember(op.hub, member)
        self._append(hub, op.client_id, op.body, applied)
        return Outcome.DONE

    def _lose(self, op: Lose, applied: Applied) -> Outcome:
        known = self._whose(op)
        if not isinstance(known, tuple):
            return known or Outcome.DONE
        hub, member = known
        if member.until is None:
            member.until = self._clock() + member.grace
            self._append(hub, op.client_id, op.body, applied)
        return Outcome.DONE

    def _update(self, op: Update, applied: Applied) -> Outcome:
        known = self._whose(op)
        if not isinstance(known, tuple):
            return known or Outcome.UNKNOWN
        hub, member = known
        if member.who != op.who:
            member.who = op.who
            self._append(hub, op.client_id, op.body, applied)
        return Outcome.DONE

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

    def _kept(self, hub: _Hub | None) -> tuple[int, float]:
        """Size and ttl of a hub's history."""
        size, ttl = (hub and hub.history) or (None, None)
        return (
            self.limits.history_size if size is None else size,
            self.limits.history_ttl if ttl is None else ttl,
        )

    # Mailboxes

    async def claim(self, hubs: Sequence[str], worker: str, ring: str = "") -> list[Claim]:
        with self._lock:
            return [self._claim(name, worker, ring) for name in hubs]

    def _claim(self, name: str, worker: str, ring: str) -> Claim:
        hub = self._hubs.get(name)
        if hub is None or (hub.mail is None and not ring):
            return Claim(name, Lease.FREE)
        held = hub.held
        if held is None or (held.worker != worker and held.until <= self._clock()):
            held = hub.held = _Held(secrets.token_hex(8), worker, 0.0, ring)
        elif held.worker != worker:
            return Claim(name, Lease.FREE)
        held.ring = ring
        if ring:
            self._taken.add(name)
        return self._next_batch(hub, held)

    async def commit(self, commits: Sequence[Commit]) -> list[Claim]:
        with self._lock:
            return [self._commit(commit) for commit in commits]

    def _commit(self, commit: Commit) -> Claim:
        hub = self._holding(commit.hub, commit.token)
        if hub is None or hub.held is None:
            return Claim(commit.hub, Lease.LOST)
        done = False
        while hub.mail and hub.mail[0].position <= commit.position:
            hub.mail.popleft()
            done = True
        if done:
            self._bury(commit)
        if not hub.mail:
            hub.mail = None
            self._with_mail.pop(hub.name, None)
        if commit.release or (hub.mail is None and not hub.held.ring):
            hub.held = None
            # Given back with mail left: the next look of anybody rings for it, without the usual wait.
            hub.rung = 0.0
            self._vanish_if_empty(hub)
            return Claim(commit.hub, Lease.FREE)
        return self._next_batch(hub, hub.held)

    def _next_batch(self, hub: _Hub, held: _Held) -> Claim:
        held.until = self._clock() + self.limits.hub_lease
        mail = hub.mail or ()
        batch = tuple(letter for letter, _ in zip(mail, range(self.limits.batch), strict=False))
        members = ((letter.client_id, hub.members.get(letter.client_id)) for letter in batch)
        addresses = {client_id: member.address for client_id, member in members if member}
        return Claim(hub.name, Lease.HELD, held.token, batch, addresses)

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

    # Processes

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
            return applied.wakes

    async def visit(self, process: str, held: Held, visits: Sequence[Visit]) -> list[int | None]:
        with self._lock:
            return self._visits.visit(process, held, visits)

    def _lives_on(self, process: str) -> bool:
        return self._processes.get(process, 0.0) > self._clock()

    async def epoch(self) -> str:
        return "the process's"

    async def close(self) -> None:
        """Nothing to let go of."""

    # Steps of the above; the lock is held.

    def _hub(self, name: str, events: str) -> _Hub:
        hub = self._hubs.get(name)
        if hub is None:
            hub = self._hubs[name] = _Hub(name, events)
        return hub

    def _member(self, hub: str, client_id: str) -> Member | None:
        found = self._hubs.get(hub)
        member = found.members.get(client_id) if found else None
        return self._known(hub, client_id, member) if member else None

    @staticmethod
    def _known(hub: str, client_id: str, member: _Member) -> Member:
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

    def _remember(self, hub: str, member: _Member) -> None:
        if member.posted:
            connection = member.address.connection
            key = hub, session_of(connection) or connection
            self._lost[key] = member.posted, self._clock() + self.limits.lost_ttl

    def _enter(self, op: Join) -> None:
        self._members_of.setdefault(op.process, set()).add((op.hub, op.client_id))
        # A process that joins members lives, also where its first beat is still to come.
        self._processes.setdefault(op.process, self._clock() + self.limits.process_lease)

    def _clear(self, hub: _Hub, client_id: str, now: float, applied: Applied) -> None:
        """A member of a dead process: gone, or lost at first, where it has a grace."""
        member = hub.members[client_id]
        if member.until is None and member.grace > 0:
            member.until = now + member.grace
            self._append(hub, client_id, lost_body(member.who, now, "lost"), applied)
        elif member.until is None or member.until <= now:
            self._remove(hub, client_id)
            self._remember(hub.name, member)
            self._append(hub, client_id, left_body(member.who, now, "lost"), applied)

    def _remove(self, hub: _Hub, client_id: str) -> None:
        member = hub.members.pop(client_id)
        hubs = tuple(name for name in self._hubs_of[client_id] if name != hub.name)
        if hubs:
            self._hubs_of[client_id] = hubs
        else:
            del self._hubs_of[client_id]
        self._logs.forget(hub.name, client_id)
        self._forget_whose((hub.name, client_id), member)

    def _forget_whose(self, key: tuple[str, str], member: _Member) -> None:
        if key in self._grave:
            self._grave.remove(key)
            return
        mates = self._members_of[member.address.process]
        mates.remove(key)
        if not mates:
            del self._members_of[member.address.process]

    def _append(self, hub: _Hub, client_id: str, body: str, applied: Applied) -> None:
        now = self._clock()
        self._position = max(self._position + 1, int(now * 1_000_000))
        if hub.mail is None:
            hub.mail = deque()
            hub.rung = now
            self._with_mail[hub.name] = None
            rung_at = hub.held.ring if hub.held and hub.held.until > now else ""
            applied.wakes.append((hub.name, rung_at or hub.events))
        hub.mail.append(Letter(self._position, client_id, body))

    def _holding(self, name: str, token: str) -> _Hub | None:
        hub = self._hubs.get(name)
        return hub if hub and hub.held and hub.held.token == token else None

    def _free_if_dead(self, name: str, now: float) -> None:
        hub = self._hubs.get(name)
        held = hub.held if hub else None
        if hub is None or held is None or not held.ring:
            self._taken.discard(name)
        elif held.until <= now and not (hub.named or hub.members or hub.mail):
            self._taken.discard(name)
            hub.held = None
            self._vanish_if_empty(hub)

    def _vanish_if_empty(self, hub: _Hub) -> None:
        if not (hub.named or hub.members or hub.mail or hub.held):
            self._hubs.pop(hub.name, None)

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
