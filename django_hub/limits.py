"""The bounds of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: No time and no number that a store gets may be more. Above it Redis' scripts round, and then refuse.
MOST: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times are in seconds.

    ``process_lease``: a process not heard of for so long is dead. ``hub_lease``: a worker that does not
    renew or commit for so long loses its hub. ``ring_again``: mail nobody claimed for so long is rung
    for again. ``batch``: events handed out at once. ``mailbox``: events waiting in one hub before Post is
    refused. ``dead_letters``: kept a hub, the oldest go first, each for ``dead_letter_ttl`` at most.
    ``history_size``: items kept in a log, the oldest go first, and all of them ``history_ttl`` after the
    last one came; 0 of either: none is kept.
    """

    process_lease: float = 30.0
    hub_lease: float = 30.0
    ring_again: float = 10.0
    batch: int = 100
    mailbox: int = 10_000
    dead_letters: int = 100
    dead_letter_ttl: float = 7 * 24 * 3600.0
    history_size: int = 100
    history_ttl: float = 300.0

    @property
    def lost_ttl(self) -> float:
        """For so long it is remembered which messages of a lost connection, or a session, were taken."""
        return 10 * self.process_lease

    def log_ttl(self, history_ttl: float) -> float:
        """For so long a log goes on counting where it was when nobody asks for it."""
        return max(history_ttl, self.process_lease)
