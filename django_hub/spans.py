"""Where a trace passes through: from a client's message to its handler and what that sends.

Nobody traces by default: each of these is one look at `spans.tracer` then. `django_hub.tracing` does.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

from django_hub.events import Event

Self = TypeVar("Self")
_Span = AbstractContextManager[object]
_Post = Callable[[Self, Any, "str | bytes"], Coroutine[Any, Any, bool]]

_NONE: _Span = nullcontext()


class Tracer(Protocol):
    """Each span is the current one while its block runs, and says what was raised."""

    def receiving(self, hub: str, data: str | bytes) -> _Span:
        """A client's message is with its consumer."""
        ...

    def posting(self, hub: str, channel: str, data: str | bytes) -> _Span:
        """It goes into the hub's mailbox."""
        ...

    def handling(self, channel: str, kind: str, event: Event) -> _Span:
        """An event is with its handler, behind the span under which it was posted."""
        ...

    def sending(self, operation: str, hub: str) -> _Span:
        """Something is sent to clients."""
        ...

    def parent(self) -> str:
        """The current span as W3C's ``traceparent``; empty: there is none."""
        ...


#: This process's.
tracer: Tracer | None = None


def received(
    on_message: Callable[[str | bytes], Awaitable[None]], hub: str, data: str | bytes
) -> Awaitable[None]:
    """Call the hook that takes a client's message."""
    if tracer is None:
        return on_message(data)
    return _within(tracer.receiving(hub, data), on_message(data))


def posted(post: _Post[Self]) -> _Post[Self]:
    """Of the method that puts a connection's message into its mailbox."""

    @functools.wraps(post)
    def call(self: Self, connection: Any, data: str | bytes) -> Coroutine[Any, Any, bool]:
        if tracer is None:
            return post(self, connection, data)
        span = tracer.posting(connection.hub, connection.events, data)
        return _within(span, post(self, connection, data))

    return call


def parent() -> str:
    """What a message carries through the mailbox; empty: nothing."""
    return "" if tracer is None else tracer.parent()


def handling(channel: str, kind: str, event: Event) -> _Span:
    return _NONE if tracer is None else tracer.handling(channel, kind, event)


def sending(operation: str, hub: str) -> _Span:
    """``operation``: ``broadcast``, ``send`` or ``reply``."""
    return _NONE if tracer is None else tracer.sending(operation, hub)


T = TypeVar("T")


async def _within(span: _Span, work: Awaitable[T]) -> T:
    with span:
        return await work
