"""Refusals, counted and told once a burst: who floods a server must not flood its log."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from django_hub.logs import get_logger

logger = get_logger(__name__)

# A burst is over when nothing of its kind came for so many seconds.
_QUIET = 10.0
# One that does not end is told of once in so many.
_LONG = 600.0
# Of so many who were refused in a burst it is known whether they were refused before.
_KNOWN = 10_000


@dataclass(slots=True)
class _Burst:
    began: float
    last: float
    code: int
    count: int = 0
    who: set[str] = field(default_factory=set)


class Bursts:
    """The refusals of one process, by close code. It is told the time, in seconds.

    The first of a burst is a warning that names whom it hit; the rest are one more, with their number.
    """

    def __init__(self) -> None:
        #: How many there were, by close code.
        self.total: Counter[int] = Counter()
        self._under_way: dict[int, _Burst] = {}

    def add(self, code: int, who: str, reason: str, now: float) -> None:
        """``who`` was refused with ``code``."""
        self.total[code] += 1
        self.look(now)
        burst = self._under_way.get(code)
        if burst is None:
            burst = self._under_way[code] = _Burst(now, now, code)
            logger.warning(
                "%s is refused with %d: %s. What more is refused so is counted, and told when it is over",
                who,
                code,
                reason,
            )
        burst.last = now
        burst.count += 1
        if len(burst.who) < _KNOWN:
            burst.who.add(who)

    def look(self, now: float) -> None:
        """Tell of the bursts that are over, or long."""
        for code, burst in list(self._under_way.items()):
            if now - burst.last > _QUIET or now - burst.began > _LONG:
                del self._under_way[code]
                level = logging.WARNING if burst.count > 1 else logging.DEBUG
                logger.log(
                    level,
                    "%d were refused with %d in %.0f s, of %d users or addresses",
                    burst.count,
                    code,
                    burst.last - burst.began,
                    len(burst.who),
                )
