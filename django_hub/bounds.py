"""How much may wait for one client, and what becomes of one that is too slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from django_hub.exceptions import InvalidBound

WhenSlow: TypeAlias = Literal["close", "drop_oldest", "latest"]


_POLICIES = get_args(WhenSlow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What may wait for a client, what the server has buffered for it included; and what comes of more.

    ``max_queue_bytes``: of payload. ``max_queue_messages``. One message alone may be larger than both.
    ``when_slow`` says what happens to a client for which more waits:

    * ``close``: it is closed with 4008 and leaves as ``slow``, with what it did not get in
      `Left.undelivered`.
    * ``drop_oldest``: the oldest messages that wait are dropped, the newest never. What the server has
      buffered (up to 64 KiB, or one larger message) can't be taken back, and counts.
    * ``latest``: of messages that were given the same ``key`` only the newest waits, in the place of the
      newest: a price, a cursor. Those without a key all wait; a client over its bounds is closed, as above.

    Raises `InvalidBound`.
    """

    max_queue_bytes: int = 1024 * 1024
    max_queue_messages: int = 10_000
    when_slow: WhenSlow = "close"

    def __post_init__(self) -> None:
        for name in ("max_queue_bytes", "max_queue_messages"):
            value: object = getattr(self, name)
            if type(value) is not int or value < 1:
                raise InvalidBound(f"{name} is a whole number above 0; got {value!r:.80}.")
        if self.when_slow not in _POLICIES:
            policies = ", ".join(map(repr, _POLICIES))
            raise InvalidBound(f"when_slow is one of {policies}; got {self.when_slow!r:.80}.")
