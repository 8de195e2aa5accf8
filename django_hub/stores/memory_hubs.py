"""What the memory store knows of a hub: its members, its mail, who holds it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from django_hub.stores.ops import Address, HubRecord, Join, Letter


@dataclass(slots=True)
class Held:
    """A worker's lease of one hub; ``ring`` is where its wakes go, if not to the hub's channel."""

    token: str
    worker: str
    until: float
    ring: str


class MemberState:
    __slots__ = ("address", "at", "grace", "own", "past", "posted", "until", "who")

    def __init__(self, op: Join, past: tuple[Address, ...], posted: int) -> None:
        self.address = Address(op.process, op.connection)
        self.at = op.at
        self.grace = op.grace
        self.past = past
        self.posted = posted
        # The connection that last posted a message of its own, and the number of that.
        self.own = "", 0
        # When a lost one's grace is over.
        self.until: float | None = None
        self.who = op.who


class HubState:
    __slots__ = ("events", "held", "history", "mail", "members", "name", "named", "rung", "tried")

    def __init__(self, name: str, events: str) -> None:
        self.name = name
        self.events = events
        self.named = False
        self.members: dict[str, MemberState] = {}
        self.mail: deque[Letter] | None = None
        self.held: Held | None = None
        self.rung = 0.0
        # The position of the oldest letter, and under how many leases it was given out.
        self.tried = 0, 0
        # Size and ttl, where it has its own.
        self.history: tuple[int | None, float | None] | None = None

    def record(self) -> HubRecord:
        size, ttl = self.history or (None, None)
        return HubRecord(
            name=self.name, events=self.events, named=self.named, history_size=size, history_ttl=ttl
        )

    def try_mail(self, more: int) -> int:
        """Under how many leases the oldest letter is given out, one after another, without a commit; 0 if
        there is none. ``more`` is 1 where this lease is a new one."""
        if not self.mail:
            return 0
        position, tries = self.tried
        first = self.mail[0].position
        self.tried = first, max(1, tries + more if position == first else 1)
        return self.tried[1]
