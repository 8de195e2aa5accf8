"""Does a relay hear what it says to itself?"""

from __future__ import annotations

from collections.abc import Callable


class Hearing:
    """Times are the clock's, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        #: Since when an answer is due; None: nothing is.
        self.silent_since: float | None = None
        #: How long the last one took; None: there was none yet.
        self.lag: float | None = None

    def ask(self) -> None:
        """Something is sent, and should be heard. Asked again, it is still the first that is waited for."""
        if self.silent_since is None:
            self.silent_since = self._clock()

    def hear(self) -> None:
        """Something came."""
        if self.silent_since is not None:
            self.lag = self._clock() - self.silent_since
            self.silent_since = None

    def excuse(self) -> None:
        """Nothing is to be expected: it was not sent, or this is a new beginning."""
        self.silent_since = None

    @property
    def silence(self) -> float:
        """For how long an answer is due; 0 where none is."""
        return 0.0 if self.silent_since is None else self._clock() - self.silent_since
