"""The members of the memory store, and the one ordered write path."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from django_hub.events import Reason, left_body
from django_hub.members import Member
from django_hub.names import session_of
from django_hub.stores.memory_hubs import HubState, MemberState
from django_hub.stores.memory_state import MemoryState
from django_hub.stores.ops import Address, Applied, Join, Leave, Lose, Op, Outcome, Post, Update

# How many of the connections it replaced a member remembers, so that a late, repeated Join of one of them
# is told apart from a new one. More than a client can open while one call is repeated.
_REMEMBERED = 8


class MemoryMembers(MemoryState):
    """See `Store.apply`."""

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

    async def apply(self, ops: Sequence[Op]) -> Applied:
        applied = Applied(outcomes=[])
        with self._lock:
            for op in ops:
                match op:
                    case Join():
                        outcome = self._join(op, applied)
                        applied.logs[op.hub] = self._logs.peek(op.hub, self._clock())
                    case _:
                        outcome = self._of_member(op, applied)
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
            if session_of(old.address.connection):
                self._remember(op.hub, old)
            reason: Reason = "lost" if op.again else "replaced"
            if op.again:
                posted = max(posted, old.posted)
            self._append(hub, op.client_id, left_body(old.who, self._clock(), reason), applied)
            applied.replaced.append((op.hub, old.address))
        hub.members[op.client_id] = MemberState(op, chain[-_REMEMBERED:], posted)
        self._hubs_of[op.client_id] = (*self._hubs_of.get(op.client_id, ()), op.hub)
        self._enter(op)
        self._append(hub, op.client_id, op.body, applied)
        return Outcome.DONE

    def _resume(
        self, op: Join, member: MemberState, chain: tuple[Address, ...], applied: Applied
    ) -> Outcome:
        key = op.hub, op.client_id
        applied.replaced.append((op.hub, member.address))
        self._forget_whose(key, member)
        if op.again and member.own[0] == op.again:
            member.own = op.connection, member.own[1]
        member.address = Address(op.process, op.connection)
        member.at, member.who, member.grace = op.at, op.who, op.grace
        member.past = chain[-_REMEMBERED:]
        member.posted = max(member.posted, op.posted)
        member.until = None
        self._enter(op)
        self._append(self._hubs[op.hub], op.client_id, op.resumed, applied)
        return Outcome.RESUMED

    def _of_member(self, op: Post | Leave | Lose | Update, applied: Applied) -> Outcome:
        hub = self._hubs.get(op.hub)
        member = hub.members.get(op.client_id) if hub else None
        if hub is None or member is None:
            return Outcome.UNKNOWN if isinstance(op, Post | Update) else Outcome.DONE
        if member.address.connection != op.connection:
            return Outcome.REPLACED
        match op:
            case Post():
                return self._post(op, hub, member, applied)
            case Leave():
                self._remove(hub, op.client_id)
                if session_of(op.connection):
                    self._remember(op.hub, member)
            case Lose():
                if member.until is not None:
                    return Outcome.DONE
                member.until = self._clock() + member.grace
            case Update():
                if member.who == op.who:
                    return Outcome.DONE
                member.who = op.who
        self._append(hub, op.client_id, op.body, applied)
        return Outcome.DONE

    def _post(self, op: Post, hub: HubState, member: MemberState, applied: Applied) -> Outcome:
        last = member.posted
        if op.own:
            last = member.own[1] if member.own[0] == op.connection else 0
        if op.number <= last:
            return Outcome.DONE
        if hub.mail is not None and len(hub.mail) >= self.limits.mailbox:
            return Outcome.FULL
        if op.own:
            member.own = op.connection, op.number
        else:
            member.posted = op.number
        self._append(hub, op.client_id, op.body, applied)
        return Outcome.DONE
