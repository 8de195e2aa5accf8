"""What a store counts over all processes: places that are held, and how often somebody came lately."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

#: What a process holds is to be said again within so many seconds, or it is forgotten.
KEPT: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Place:
    """One of the places of ``subject``, of which there are ``most``; None: this one is not refused.

    With ``part`` it is not places that are counted but how many different parts they have.
    """

    subject: str
    most: int | None
    part: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.subject, self.part


@dataclass(frozen=True, slots=True)
class Score:
    """How often ``subject`` came lately: each time counts 1, and half of it after ``half_life`` seconds.

    So about ``most`` may come at once, and ``most × ln 2 / half_life`` a second in the long run. Who comes
    when it was refused makes it worse, up to twice ``most``: one half-life of patience is enough.
    """

    subject: str
    most: int
    half_life: float


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody comes, and wants all these places; or goes, and gives them back.

    Who comes gets all of them or none, and what a Score has counted stays counted.
    """

    places: tuple[Place, ...] = ()
    scores: tuple[Score, ...] = ()
    goes: bool = False


#: Of each subject and part, how many places a process holds.
Held: TypeAlias = Mapping[tuple[str, str], int]
