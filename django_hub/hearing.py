"""Does a relay hear what it says to itself?"""

from __future__ import annotations

from collections.abc import Callable


class Hearing:
    """Times are the clock's, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: Since when something is to be heard; None: nothing is.
        self.silent_since: float | None = None
        #: How long the last answer took; None: there was none yet.
        self.lag: float | None = None

    def ask(self) -> float:
        """Something is sent, with the time that this returns, and should be heard. Asked again, it is still
        since the first that it is silent."""
        now = self._clock()
        if self.silent_since is None:
            self.silent_since = now
        return now

    def hear(self, asked: float | None = None) -> None:
        """What was asked then has come, or anything else: whatever comes ends the silence, but where much
        waits before the answer, only that tells how long the way is."""
        self.silent_since = None
        if asked is not None:
            self.lag = self._clock() - asked

    def excuse(self) -> None:
        """Nothing is to be expected: it was not sent."""
        self.silent_since = None

    @property
    def silence(self) -> float:
        """For how long nothing came that should have; 0 where nothing is to come."""
        return 0.0 if self.silent_since is None else self._clock() - self.silent_since
