"""How many messages a client may send: a token bucket."""

from __future__ import annotations


class Bucket:
    """``burst`` messages at once, and ``rate`` a second in the long run: never more than ``burst`` and
    ``rate`` × t of them pass within any t seconds.

    Full when it is made, and never filled by a clock: it is told the time with each message.
    """

    __slots__ = ("_burst", "_held", "_rate", "_then", "_tokens")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._then = 0.0
        self._held = 0

    def take(self, now: float) -> float:
        """Take a token. How many seconds the message has to wait for it: mostly 0."""
        left = min(self._tokens + (now - self._then) * self._rate, self._burst) - 1
        self._tokens = left
        self._then = now
        if left < 0:
            self._held += 1
            return -left / self._rate
        # Not with the first token that comes: above a thousand a second, several do while one waits.
        if left * 2 >= self._burst - 1:
            self._held = 0
        return 0.0

    @property
    def overdrawn(self) -> bool:
        """More than ``burst`` messages had to wait since it was last half full: its client does not heed
        that it is held back."""
        return self._held > self._burst
