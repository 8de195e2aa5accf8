"""Daphne's queue of what a client sent, with a bound: past it the client is not read.

By itself Daphne reads all that comes, parses it, and keeps it for an application that may take it or not.
The queue asks its deque for everything, so another thing in the deque's place sees what comes and what is
taken, whoever takes it; and it is smaller than an empty deque.

Reading goes on when all was taken. What one read brought is above the bound: up to 64 KiB of frames.
While it stops the server hears nothing of the client, its end and its answers to pings included. After a
close nobody takes anything: what comes is dropped then, for the client's answer stands behind it.

Relied on, as of daphne 4.2.3 with Twisted 26.10 and of CPython 3.11 to 3.14:

- the application's `receive` is the ``get`` of the protocol's ``application_queue``, an `asyncio.Queue`,
  into which Daphne puts ``websocket.receive`` and, last of all, ``websocket.disconnect``;
- the queue keeps them in ``_queue``, a deque of which it uses ``append``, ``popleft`` and the length;
- the protocol has ``state`` and ``STATE_OPEN``, and its ``transport`` is one of Twisted's, with
  ``pauseProducing`` and ``resumeProducing``, also where a TLS layer is above. The HTTP channel that
  shook hands, which uses them too, does not while its request lasts, and that is as long as the socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Any

from django_hub.wires.base import Unfamiliar, require

NEEDED = (
    "state",
    "STATE_OPEN",
    "application_queue",
    "transport.pauseProducing",
    "transport.resumeProducing",
)

# What may wait for the application before its client is not read any more.
_MESSAGES = 16
_BYTES = 64 * 1024

_Message = dict[str, Any]


class Inbox:
    """In place of the deque in a protocol's queue."""

    __slots__ = ("_bytes", "_messages", "_paused", "_protocol")

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        # Made when first needed, for most clients send nothing most of the time.
        self._messages: deque[_Message] | None = None
        self._bytes = 0
        self._paused = False

    def __len__(self) -> int:
        return 0 if self._messages is None else len(self._messages)

    def __iter__(self) -> Iterator[_Message]:
        return iter(self._messages or ())

    def append(self, message: _Message) -> None:
        if message["type"] == "websocket.receive":
            if self._protocol.state != self._protocol.STATE_OPEN:
                return
            self._bytes += len(message.get("text") or message.get("bytes") or "")
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        if message["type"] == "websocket.disconnect":
            # The last one. What remains shall not keep the protocol, which has us.
            self._paused = False
            self._protocol = None
        elif not self._paused and (len(self._messages) > _MESSAGES or self._bytes > _BYTES):
            self._paused = True
            self._protocol.transport.pauseProducing()

    def popleft(self) -> _Message:
        if self._messages is None:
            raise IndexError("nothing came")
        message = self._messages.popleft()
        if not self._messages:
            self._messages = None
            self._bytes = 0
            self.read_on()
        return message

    def read_on(self) -> None:
        if self._paused:
            self._paused = False
            self._protocol.transport.resumeProducing()


def find(protocol: Any) -> Inbox | None:
    """The inbox of a protocol object of Daphne's, if it has one."""
    inbox = getattr(getattr(protocol, "application_queue", None), "_queue", None)
    return inbox if isinstance(inbox, Inbox) else None


def install(protocol: Any) -> None:
    """Have a protocol object of Daphne's keep the bound. Again: nothing happens. Raises `Unfamiliar`."""
    if find(protocol) is not None:
        return
    require(protocol, NEEDED)
    queue = protocol.application_queue
    waiting = getattr(queue, "_queue", None)
    if type(queue) is not asyncio.Queue or type(waiting) is not deque:
        raise Unfamiliar(f"asyncio.Queue as {type(protocol).__name__}.application_queue")
    inbox = Inbox(protocol)
    for message in waiting:
        inbox.append(message)
    queue._queue = inbox  # type: ignore[attr-defined]  # noqa: SLF001 (see on top)
