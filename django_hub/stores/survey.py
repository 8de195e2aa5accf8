"""What a store tells a person who looks at it, and what such a person may do. See `Surveyed`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from django_hub.stores.ops import DeadLetter

#: For so long, in seconds, after the last `Surveyed.tail` of a hub its handled events are kept.
TAIL_TTL = 10.0
#: Handled events kept for who looks, and characters of each.
TAIL_KEPT = 1000
TAIL_CHARACTERS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSurvey:
    """A hub as it is now. ``mail``: events not handled yet; the oldest of them was posted at ``oldest``
    (seconds since the epoch), ``lag`` seconds ago by the store's clock; None: there is none. ``worker``:
    who holds its mailbox. ``seq``: how many numbered broadcasts its log counts. ``error``: why nothing can
    be said of it."""

    name: str
    there: bool = False
    events: str = ""
    members: int = 0
    mail: int = 0
    oldest: float | None = None
    lag: float | None = None
    dead_letters: int = 0
    worker: str = ""
    seq: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Of all hubs, about: what is counted in constant time may tell of some that are just gone."""

    hubs: int
    members: int
    with_mail: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """An event that was handled, or ``failed``; of a long one the body's beginning."""

    position: int
    client_id: str
    body: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Tail:
    """Events up to ``position``; ``missed``: there were more than were kept."""

    position: int
    items: tuple[Handled, ...] = ()
    missed: bool = False


@dataclass(frozen=True, slots=True)
class Revived:
    """How many dead letters are mail again, and who is to be rung for, as `Applied.wakes`."""

    count: int
    wakes: list[tuple[str, str]] = field(default_factory=list)


class Surveyed(ABC):
    """The part of a store for who looks. Nothing of it changes a hub, but `revive` and `discard`."""

    @abstractmethod
    async def survey(self, hubs: Sequence[str]) -> list[HubSurvey]:
        """Each of these hubs, in constant time a hub."""

    @abstractmethod
    async def survey_page(self, after: str = "", most: int = 1000) -> list[HubSurvey]:
        """A page of all hubs, as `Store.hubs`, each as `survey` tells of it; damaged ones, too."""

    @abstractmethod
    async def totals(self) -> Totals:
        """In constant time a process."""

    @abstractmethod
    async def busy(self, most: int) -> list[str]:
        """Up to so many hubs with mail, in no order; some may have had it a moment ago."""

    @abstractmethod
    async def processes(self, most: int) -> list[str]:
        """Up to so many relays' channels, of processes that live."""

    @abstractmethod
    async def tail(self, hub: str, after: int | None, most: int = 200) -> Tail:
        """The newest ``most`` events that were committed above ``after``, oldest first; None: from now on.

        They are kept from the first call on, as long as one comes every `TAIL_TTL` seconds; for hubs that
        nobody asks for nothing is kept.
        """

    @abstractmethod
    async def revive(self, letters: Sequence[DeadLetter]) -> Revived:
        """Make dead letters of one hub mail again, each once, at the mailbox's end with a new position: a
        worker that is in the middle of a batch will commit all before it, and would take one at the front
        for handled. A full mailbox takes them. Nothing happens to a hub that isn't there, nor again.
        """

    @abstractmethod
    async def discard(self, letters: Sequence[DeadLetter]) -> int:
        """Drop these dead letters of one hub; how many of them there still were."""
