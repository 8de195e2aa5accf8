"""What a store is asked to do, and what it answers: frozen values, no behaviour."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeAlias

from django_hub.exceptions import Damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRecord:
    """A hub as the store knows it: ``named`` by `hub_create`, or there while it has members or mail.

    ``events`` is the channel whose worker handles it. ``history_size`` and ``history_ttl`` are its own, in
    the place of those of `Limits`; None: it has none of its own.
    """

    name: str
    events: str
    named: bool = False
    history_size: int | None = None
    history_ttl: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """``who`` is `events.describe`, ``events`` the channel of a hub that isn't there yet. ``connection``
    and ``process`` are ids of our own making: not empty, no line break, no comma.

    ``again``: the connection was a member before, under this id, and its process was declared dead, or the
    store was emptied. It comes back under a new id, so that whoever still removes the old one can't meet
    it; and it replaces none but the old one. ``posted`` is then the number of its last Post that
    it knows to be accepted.

    ``grace``: for so many seconds the member may be lost before it is gone; see `Lose`. ``resumed``: the
    body that is posted where the connection goes on as the member that was there (`Outcome.RESUMED`).
    ``most``: so many members the hub may have; None: any number.
    """

    hub: str
    client_id: str
    connection: str
    process: str
    events: str
    who: str
    at: float
    body: str
    again: str = ""
    posted: int = 0
    grace: float = 0.0
    resumed: str = ""
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """``number`` counts the connection's messages, from 1; those of a session, over its connections.

    ``own``: not what the client sent, but a message of the application's. It is counted for itself, from 1
    on each connection, and means nothing for the messages of the session.
    """

    hub: str
    client_id: str
    connection: str
    number: int
    body: str
    own: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    hub: str
    client_id: str
    connection: str
    process: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lose:
    """The connection broke, and its client may be back within the grace its Join gave it."""

    hub: str
    client_id: str
    connection: str
    process: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The member's ``who`` (`events.describe`) is another one from now on."""

    hub: str
    client_id: str
    connection: str
    who: str
    body: str


Op: TypeAlias = "Join | Post | Leave | Lose | Update"


class Outcome(enum.Enum):
    """What became of an op.

    DONE: carried out, now or by an earlier call of the same op. FULL: the mailbox is at its limit; nothing
    changed. UNKNOWN: no such member (its process was declared dead, or the store was emptied); nothing
    changed. REPLACED: another connection has that client id now; nothing changed. RESUMED: a Join was
    carried out, now or by an earlier call, and the member is the one that was there, of the same session.
    CROWDED: the hub has as many members as the Join allows; nothing changed.
    """

    DONE = "done"
    FULL = "full"
    UNKNOWN = "unknown"
    REPLACED = "replaced"
    RESUMED = "resumed"
    CROWDED = "crowded"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a connection is: its relay's channel, and its id there."""

    process: str
    connection: str


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer to `Store.apply`: an outcome an op, in order; `Damaged` for those of a hub that is.

    ``replaced``: connections that lost their client id to a newer one, with the hub: their sockets are to
    be closed. A repeated Join tells of the one it replaced again; one that is RESUMED, of the connection
    that the member had before. ``wakes``: hubs that had no mail before and have now, each with its events
    channel. ``logs``: how far the log of each hub that somebody joined had come in that same step; without
    epoch, and 0, where there is none.
    """

    outcomes: list[Outcome | Damaged]
    replaced: list[tuple[str, Address]] = field(default_factory=list)
    wakes: list[tuple[str, str]] = field(default_factory=list)
    logs: dict[str, Number] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Letter:
    """One entry of a mailbox: a client's event, as a body, at its position."""

    position: int
    client_id: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event whose handler failed, or that could not be read: kept for a human to look at."""

    hub: str
    position: int
    body: str
    error: str
    at: float


class Lease(enum.Enum):
    """HELD: the token is the hub's, handle the batch. FREE: nothing to do, nothing held. LOST: the
    hub is another worker's; nothing was changed, stop handling it. DAMAGED: as `Claim.error` says."""

    HELD = "held"
    FREE = "free"
    LOST = "lost"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's right to a hub's mailbox, and the next letters of it.

    ``addresses``: where the clients of these letters are now, those that are members. ``tries``: under how
    many leases the first letter was given out, one after another, this one included: all before ran out
    without a commit. Leases that were given back don't count.
    """

    hub: str
    lease: Lease
    token: str = ""
    batch: tuple[Letter, ...] = ()
    addresses: dict[str, Address] = field(default_factory=dict)
    tries: int = 0
    error: Damaged | None = None


@dataclass(frozen=True, slots=True)
class Commit:
    """All letters up to ``position`` are done with; those in ``dead`` go to the dead letters.

    ``release``: give the lease back even where mail is left.
    """

    hub: str
    token: str
    position: int
    dead: tuple[DeadLetter, ...] = ()
    release: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """An item for the log of a hub, or, with ``client_id``, for that member's own log.

    ``id`` is another one for each publication, without NUL. ``again``: it may have been carried out before.
    """

    hub: str
    item: str
    id: str
    client_id: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """A place in a log: ``seq`` counts from 1, and means something within its ``epoch`` only.

    ``process``: in a member's own log, the process it was at in that same step. Who published before it was
    somewhere else finds it in its log; who publishes after must send it there.
    ``told``: of `Store.positions`: when a member was last sent something alone; see `Store.told`.
    """

    epoch: str
    seq: int
    process: str = field(default="", compare=False)
    told: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class History:
    """How far a log has come, and what it keeps of the part that was asked for: items by number, ascending.

    Items are without a gap: where the first one's number is not the next after what the asker has, what
    lies between can't be had any more.
    """

    epoch: str
    seq: int
    items: tuple[tuple[int, str], ...] = ()
