"""The contract of a store: where members, mailboxes, logs and leases live.

`tests/stores/contract.py` holds every promise of this page as a test, and runs against every store.

Three rules hold everywhere:

* **Atomic in its hub.** A member and the event that tells of it change in one step: they can't disagree.
* **Everything can be repeated.** A lost reply says nothing about whether the call was carried out; the
  caller calls again, and the second call changes nothing that the first one did. Join and Leave are told
  apart by the connection's id, Post by the connection's own counter, commit by the mailbox position, a
  publication by its id.
  One thing is asked of callers: a call that failed is repeated as it was before anything else is asked
  for the same connections, and a connection's Join and Leave never stand in one call.
* **The store's clock.** Leases are measured by the store itself, never by a caller's clock: the clocks of
  processes differ.

Any operation may raise `Unavailable`; then nothing is known of what was done, and it may be repeated.
Where a hub is `Damaged`, an operation on this hub raises that; one on many hubs says so of this hub in its
answer, or logs it where the answer has no place for it, and does its work on the others.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import ClassVar, TypeAlias

from django_hub.exceptions import Damaged
from django_hub.limits import Limits
from django_hub.members import Member
from django_hub.stores.ops import (
    Applied,
    Claim,
    Commit,
    DeadLetter,
    History,
    HubRecord,
    Number,
    Op,
    Publication,
)
from django_hub.stores.survey import Surveyed
from django_hub.stores.visits import Held, Visit

#: See `Store.reap`.
Bury: TypeAlias = Callable[[str, float, Collection[str]], Awaitable[None]]


class Store(Surveyed):
    """See the module.

    A class that DJANGO_HUB["STORE"] names, ``{"BACKEND": "shop.stores.SqlStore", "alias": "hubs"}``, is
    made as ``SqlStore(limits, alias="hubs")``: with the `Limits` that the settings say, which it keeps as
    ``limits``, and all that stands beside ``BACKEND`` by its name. That is done with the first use, in a
    running event loop, and must not wait for anything: to connect is for the first operation. There is one
    for each event loop, which is used from no other; or one for the process where the class says
    ``any_loop = True``, which is then called from different threads at the same time. What its constructor
    raises is raised to who called, each time.
    """

    #: Is one object good for any number of event loops, and threads?
    any_loop: ClassVar[bool] = False

    limits: Limits

    # Hubs

    @abstractmethod
    async def create(
        self,
        name: str,
        events: str | None,
        history_size: int | None = None,
        history_ttl: float | None = None,
    ) -> HubRecord:
        """Name a hub, so that it stays without members; again, with other options, changes these.

        ``events`` None: those it has, or ``hub-events``. ``history_size`` and ``history_ttl`` are for its
        logs, from their next publication on; None: what it has, or those of `Limits`. They go with the hub.
        """

    @abstractmethod
    async def destroy(self, name: str) -> bool:
        """Take the name away: the hub vanishes with its last member and event. False: it wasn't there."""

    @abstractmethod
    async def hub(self, name: str) -> HubRecord | None:
        """The hub, if it is there: named, or with members, or with mail."""

    @abstractmethod
    async def hubs(self, after: str = "", most: int = 1000) -> list[HubRecord]:
        """A page of all hubs, in the order of their names, from the first one above ``after``.

        A hub that is there all the while the pages are read stands in them exactly once.
        """

    # Members

    @abstractmethod
    async def member(self, hub: str, client_id: str) -> Member | None:
        """The member of that id, if there is one."""

    @abstractmethod
    async def members(self, hub: str, after: str = "", most: int = 1000) -> list[Member]:
        """A page of a hub's members, in the order of their ids; as `hubs`."""

    @abstractmethod
    async def find(self, client_id: str) -> Member | None:
        """The newest member of that id in any hub: that of the latest `Join.at`."""

    @abstractmethod
    async def count(self, hub: str) -> int:
        """How many members a hub has, in constant time; 0 for a hub that isn't there."""

    # The one ordered write path

    @abstractmethod
    async def apply(self, ops: Sequence[Op]) -> Applied:
        """Carry out ops in order, each atomic in its hub; see `Outcome` for what can become of one.

        * Join makes the member and posts `Joined`. Another connection under that id is replaced: its
          `Left(replaced)` is posted before (`Left(lost)`, where it is this one's own old id that joins
          ``again``). The member's own repeated Join changes nothing. REPLACED where this connection was
          itself replaced since, or joins ``again`` and another client has the id.
          A Join is never refused for a full mailbox: it would leave a member without its event.
          Where the member there is of this connection's session (`session_of`), online or lost, it goes on,
          RESUMED: it gets the new connection, process, who, grace and at, keeps the number of its last Post
          and its own log, is online, and ``resumed`` is posted alone. That holds for one that joins
          ``again``, too. A member's session is remembered for `Limits.lost_ttl` after it was removed by
          Leave, as lost, or replaced, and what it posted is not taken twice.
          A newcomer to a hub that has ``most`` members (those that are lost too) is CROWDED, and nothing
          changes; not one that joins ``again``, goes on, or takes the place of its client id.
        * Post appends a message. A number not above the connection's last one is DONE, and nothing changes.
          That holds also where the connection was lost and joins ``again``, within `Limits.lost_ttl`; for
          one of its ``own``, where it goes on as RESUMED.
        * Leave removes the member and posts its `Left`, if the stored connection is this one. Else
          it is DONE or REPLACED, and nothing changes. It is never refused for a full mailbox. A lost
          member leaves as one that is online.
        * Lose makes the member lost until its grace is over, and posts its `Lost`, if the stored connection
          is this one and online. Else it is DONE or REPLACED, and nothing changes. Never refused for a
          full mailbox. Nobody but its process removes it, with Leave, as long as that lives.
        * Update changes the member's ``who`` and posts its `Updated`; UNKNOWN and REPLACED as Post, never
          refused for a full mailbox. With the ``who`` that it has it is DONE, and nothing changes.
        """

    # Logs

    @abstractmethod
    async def publish(self, publications: Sequence[Publication]) -> list[Number | Damaged | None]:
        """Number each in the log of its hub, and keep it there, in one atomic step; those of one hub in
        their order. With ``client_id`` that is the member's own log, whose epoch is the hub's.

        A log counts from 1, and keeps the newest `Limits.history_size` items, all of them until
        `Limits.history_ttl` after the last one; a hub may have bounds of its own (`create`). How far a
        hub's log has come is known for `Limits.log_ttl` after the last call of these four; then, or where
        the store was emptied, it begins anew, in another epoch. A member's own log goes with the member.
        A hub need not be there, and is not made.

        None: there is no such member, and nothing was done. One that is published ``again`` and still kept
        under its id gets the number it has.
        """

    @abstractmethod
    async def history(self, hub: str, after: int) -> History:
        """What is kept of a hub's log with numbers above ``after``. Where there is no log it begins. Where
        it has not come as far as ``after``, it was put back to an earlier state, and the numbers that it
        would give are known elsewhere as other items': then it begins anew, in another epoch."""

    @abstractmethod
    async def sent(self, hub: str, client_id: str, after: int) -> History:
        """As `history`, of a member's own log; at 0 where nothing was sent, or no such member is there."""

    @abstractmethod
    async def positions(self, hubs: Collection[str]) -> dict[str, Number]:
        """How far the logs of these hubs have come, those that are there, which goes on being known.

        `Number.told` is another one, and a higher one, after each publication for a member alone. (It falls
        where that member goes, or the store was put back to an earlier state.)
        """

    @abstractmethod
    async def told(self, since: Mapping[str, int]) -> dict[str, dict[str, int]]:
        """Of each of these hubs the members' own logs that were published to after its `Number.told` was
        this, 0 for all: how far they have come, by the members' connections. It costs as much as these
        are many."""

    # Mailboxes

    @abstractmethod
    async def claim(self, hubs: Sequence[str], worker: str, ring: str = "") -> list[Claim]:
        """For each hub: HELD with a token and the first batch, if it has mail and no other worker holds it.

        The same worker gets its own lease again, with the same token. FREE for all other cases.
        With ``ring`` the lease is held also while there is no mail (of a hub that is there), and while it
        lives the hub's wakes go to that channel. Of one worker's claims, the last that was HELD says so.
        """

    @abstractmethod
    async def commit(self, commits: Sequence[Commit]) -> list[Claim]:
        """For each: drop what is done, extend the lease, and answer the next batch (HELD); with no
        mail left (and no ``ring``), or where ``release`` is set, give the lease back in the same step
        (FREE). Mail that is left is then to be rung for: `unclaimed` tells it at once.

        LOST, with nothing changed, if the token is not the hub's. A lease past its time that nobody
        else took is still the worker's.
        """

    @abstractmethod
    async def renew(self, leases: Sequence[tuple[str, str]]) -> list[bool]:
        """For each hub and token: extend the lease. False, with nothing changed, if it is lost."""

    @abstractmethod
    async def unclaimed(self) -> list[tuple[str, str]]:
        """Hubs with mail, without a living lease, and not rung for in the last ``ring_again`` seconds,
        each with its events channel. They count as rung for from now on."""

    @abstractmethod
    async def waiting_in(self, hubs: Collection[str]) -> dict[str, int]:
        """How many events wait in each of these hubs, those not committed included."""

    @abstractmethod
    async def with_mail(self, after: str = "", most: int = 1000) -> list[str]:
        """A page of the hubs with mail that is not committed, as `hubs`. Some may have none any more."""

    @abstractmethod
    async def waiting(self) -> int:
        """How many hubs have mail that is not committed."""

    @abstractmethod
    async def dead_letters(self, hub: str) -> list[DeadLetter]:
        """The dead letters of a hub, oldest first. They outlive the hub."""

    @abstractmethod
    async def drop_dead_letters(self, hub: str) -> int:
        """Drop them all; how many there were."""

    # For a while

    @abstractmethod
    async def ban(self, hub: str, subject: str, seconds: float, reason: str) -> None:
        """Remember for so long that a subject, any text, is banned from a hub, and why; again: from now on.

        The hub need not be there, and is not made; a ban outlives it.
        """

    @abstractmethod
    async def unban(self, hub: str, subject: str) -> bool:
        """Forget it. False: there was no such ban, or no longer."""

    @abstractmethod
    async def bans(self, asked: Sequence[tuple[str, str]]) -> list[str | Damaged | None]:
        """For each hub and subject: why it is banned now (``""``: no reason was given); None: it isn't."""

    @abstractmethod
    async def spend(self, ticket: str, by: str, seconds: float) -> bool:
        """Spend a ticket, which is remembered for so long. True for the ``by`` that came first, however
        often it asks; False for all others: of any number at once, one gets it."""

    # Processes

    @abstractmethod
    async def beat(self, process: str) -> int:
        """Extend the process's lease. Returns a number of its life, the same until it is declared dead or
        the store is emptied: where it is another one than before, the members it had are to join again.
        A Join is no beat."""

    @abstractmethod
    async def reap(self, bury: Bury | None = None) -> list[tuple[str, str]]:
        """Remove the members of dead processes, with one `Left(lost)` each, however many call this at
        once. Returns the hubs that want a wake, as `Applied.wakes`. A member with a grace becomes lost
        first, with a `Lost(lost)`, and is removed by the first call after its grace.

        ``bury`` is awaited with each dead process, when it died (seconds since the epoch), and hubs that
        had members of it: each hub at least once, also where ``bury`` failed, or who reaped died.
        """

    @abstractmethod
    async def visit(self, process: str, held: Held, visits: Sequence[Visit]) -> list[int | None]:
        """Carry out visits in order, in one atomic step: None for one that came, or went; else the number
        of the first of its places, then its scores, that had no room.

        ``held`` says what the process holds of all that the visits name, before them: so a call that is
        repeated changes nothing but scores, and with no visits it tells the store what it may have
        forgotten. What a dead process holds is nobody's, from the end of its lease; and so is
        what was not told for `visits.KEPT` seconds.
        """

    @abstractmethod
    async def epoch(self) -> str:
        """Some text that stays while the store keeps its data, and is another when it was emptied."""

    async def remarks(self) -> list[str]:
        """What is wrong with how the store is set up, for the log of a worker that starts."""
        return []

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections. The store can be used again after."""
