"""Visits in the memory of one process: the plainest reading of `Store.visit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from django_hub.stores.visits import KEPT, Held, Place, Score, Visit

# Scores are looked through for old ones when there are twice as many as the last time left, and so many.
_SCORES = 1000


class MemoryVisits:
    """``lives`` says whether a process does."""

    def __init__(self, clock: Callable[[], float], lives: Callable[[str], bool]) -> None:
        self._clock = clock
        self._lives = lives
        #: By subject: of each process and part how many, and when that is forgotten.
        self._tallies: dict[str, dict[tuple[str, str], tuple[int, float]]] = {}
        #: By subject: the score, when it was so, and how fast it halves.
        self._scores: dict[str, tuple[float, float, float]] = {}
        self._sweep_at = _SCORES

    def visit(self, process: str, held: Held, visits: Sequence[Visit]) -> list[int | None]:
        mine = dict(held)
        for (subject, part), count in held.items():
            self._set(process, subject, part, count)
        answers: list[int | None] = []
        for visit in visits:
            answer = None if visit.goes else self._refuses(process, visit)
            answers.append(answer)
            if answer is not None:
                continue
            for place in visit.places:
                mine[place.key] = max(mine.get(place.key, 0) + (-1 if visit.goes else 1), 0)
                self._set(process, *place.key, mine[place.key])
        return answers

    def _refuses(self, process: str, visit: Visit) -> int | None:
        places = [self._has_room(process, place) for place in visit.places]
        scores = [self._counts(score) for score in visit.scores]
        answers = [*places, *scores]
        return answers.index(False) if False in answers else None

    def _has_room(self, process: str, place: Place) -> bool:
        if place.most is None:
            return True
        counts: dict[str, int] = {}
        now = self._clock()
        for (holder, part), (count, until) in self._tallies.get(place.subject, {}).items():
            if until > now and (holder == process or self._lives(holder)):
                counts[part] = counts.get(part, 0) + count
        if place.part:
            return place.part in counts or len(counts) < place.most
        return sum(counts.values()) < place.most

    def _counts(self, score: Score) -> bool:
        now = self._clock()
        value, at, half_life = self._scores.get(score.subject, (0.0, now, score.half_life))
        # A clock that was put back makes nothing more of what was.
        value = min(value * 2 ** (min(at - now, 0.0) / half_life) + 1, 2.0 * score.most)
        self._scores[score.subject] = value, now, score.half_life
        if len(self._scores) > self._sweep_at:
            self._sweep(now)
        return value <= score.most

    def _sweep(self, now: float) -> None:
        for subject, (value, at, half_life) in list(self._scores.items()):
            if value * 2 ** (min(at - now, 0.0) / half_life) < 0.5:
                del self._scores[subject]
        self._sweep_at = max(2 * len(self._scores), _SCORES)

    def _set(self, process: str, subject: str, part: str, count: int) -> None:
        if count:
            self._tallies.setdefault(subject, {})[process, part] = count, self._clock() + KEPT
        elif subject in self._tallies:
            self._tallies[subject].pop((process, part), None)
            if not self._tallies[subject]:
                del self._tallies[subject]

    def bury(self, process: str) -> None:
        """It is dead: what it held is nobody's."""
        for subject in list(self._tallies):
            for holder, part in list(self._tallies[subject]):
                if holder == process:
                    self._set(process, subject, part, 0)
