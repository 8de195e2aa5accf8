"""What the memory store tells who looks: see `Surveyed`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from django_hub.stores.letters import client_of
from django_hub.stores.memory_mailboxes import MemoryMailboxes
from django_hub.stores.ops import Applied, DeadLetter
from django_hub.stores.survey import HubSurvey, Revived, Tail, Totals


class MemorySurvey(MemoryMailboxes):
    async def survey(self, hubs: Sequence[str]) -> list[HubSurvey]:
        with self._lock:
            return [self._state(name) for name in hubs]

    async def survey_page(self, after: str = "", most: int = 1000) -> list[HubSurvey]:
        with self._lock:
            return [self._state(name) for name in self._page(after, most)]

    def _state(self, name: str) -> HubSurvey:
        now = self._clock()
        self._forget_dead_letters(name)
        dead = len(self._dead.get(name, ()))
        seq = self._logs.seq(name, now)
        hub = self._hubs.get(name)
        if hub is None:
            return HubSurvey(name=name, dead_letters=dead, seq=seq)
        oldest = hub.mail[0].position / 1_000_000 if hub.mail else None
        return HubSurvey(
            name=name,
            there=True,
            events=hub.events,
            members=len(hub.members),
            mail=len(hub.mail or ()),
            oldest=oldest,
            lag=None if oldest is None else max(0.0, now - oldest),
            dead_letters=dead,
            worker=hub.held.worker if hub.held and hub.held.until > now else "",
            seq=seq,
        )

    async def totals(self) -> Totals:
        with self._lock:
            members = sum(map(len, self._members_of.values()))
            return Totals(hubs=len(self._hubs), members=members, with_mail=len(self._with_mail))

    async def busy(self, most: int) -> list[str]:
        with self._lock:
            return list(itertools.islice(self._with_mail, most))

    async def processes(self, most: int) -> list[str]:
        with self._lock:
            now = self._clock()
            living = (process for process, until in self._processes.items() if until > now)
            return list(itertools.islice(living, most))

    async def tail(self, hub: str, after: int | None, most: int = 200) -> Tail:
        with self._lock:
            return self._tails.read(hub, after, most, self._clock())

    async def revive(self, letters: Sequence[DeadLetter]) -> Revived:
        applied = Applied(outcomes=[])
        with self._lock:
            hub = self._hubs.get(letters[0].hub) if letters else None
            if hub is None:
                return Revived(0)
            found = [letter for letter in letters if self._unbury(letter)]
            for letter in found:
                self._append(hub, client_of(letter), letter.body, applied)
            return Revived(len(found), applied.wakes)

    async def discard(self, letters: Sequence[DeadLetter]) -> int:
        with self._lock:
            return sum(self._unbury(letter) for letter in letters)

    def _unbury(self, letter: DeadLetter) -> bool:
        graves = self._dead.get(letter.hub)
        if graves is None or letter not in graves:
            return False
        graves.remove(letter)
        if not graves:
            del self._dead[letter.hub]
        return True
