"""A client's message while `on_message` takes it, and the numbers of what is posted of it.

A client of ``hub.v1`` sends a message again that was not acknowledged, and then the same posts must get
the same numbers, so that the store takes them once. What the application posts by itself in between
(another task, a handler, a timer) must not shift them. Which of the two a call is can't be told by the
task: `asyncio.gather`, and `asyncio.wait_for` of Python 3.11, call in a new one. So it is told by a context
variable, which those inherit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

# Below this, the posts of one message have numbers of its own; those beyond count as the application's:
# never lost, but taken again where the client sends it again. More would not stay whole in Redis' scripts.
_POSTS = 1024


@dataclass(frozen=True, slots=True)
class Posting:
    """How a post is counted: see `stores.ops.Post`; and the request that it is, if any."""

    number: int
    request: int | None = None
    own: bool = False


class Taking:
    """One message of a client. ``number`` is the number that the client gave it."""

    __slots__ = ("_number", "_posted", "_request")

    def __init__(self, number: int, wants_reply: bool) -> None:
        self._number = number
        self._request = number if wants_reply else None
        self._posted = 0

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """What is called inside the block, and in tasks that it starts, is called for this message."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def is_here(self) -> bool:
        return _current.get() is self

    def next(self) -> Posting | None:
        """None where it has posted all that it may."""
        if self._posted == _POSTS - 1:
            return None
        self._posted += 1
        return Posting(self._number * _POSTS + self._posted, self._request)


_current: ContextVar[Taking | None] = ContextVar("django_hub_taking", default=None)
