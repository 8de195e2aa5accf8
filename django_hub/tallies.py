"""Tallies: what this process counts of what it does, as plain numbers.

They are always counted, by a ``+=`` where something rare happens, or once for many at a time: never one
a receiver. Who measures reads them now and then (`django_hub.metrics`), and says with the three hooks below
what else is to be told; where nobody measures these are None, and no clock is looked at.

One for the whole process, whatever loops it has. An attribute's ``+=`` of ints is not cut in two by another
thread as CPython does it; without its global lock a count may be lost, and no more than that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class Tallies:
    """All are since the process began."""

    __slots__ = (
        "dead_letters",
        "deaf",
        "dropped",
        "events",
        "failures",
        "fanned_out",
        "gaps",
        "handled",
        "history_reads",
        "joins",
        "leaves",
        "lost",
        "publish",
        "received",
        "received_bytes",
        "reconnects",
        "resyncs",
        "returns",
        "slow",
        "written",
        "written_bytes",
    )

    def __init__(self) -> None:
        #: Of clients of this process, by how: ``new``, ``resumed``, ``again`` (the store had lost it).
        self.joins: Counter[str] = Counter()
        #: By `Left.reason`. Those of dead processes are counted by the worker that handles their `Left`.
        self.leaves: Counter[str] = Counter()
        #: Clients that may be back within their grace.
        self.lost = 0
        #: Clients of hub.v1 that were welcomed, by `recovered`.
        self.returns: Counter[str] = Counter()
        #: Messages of clients that are in their hub's mailbox.
        self.received = 0
        self.received_bytes = 0
        #: Frames given to clients' wires by the fan-out.
        self.written = 0
        self.written_bytes = 0
        #: Messages that a slow client did not get, for newer ones; and clients closed for being slow.
        self.dropped = 0
        self.slow = 0
        #: A number was late; the store was asked for what is missing; it is gone for good.
        self.gaps = 0
        self.history_reads = 0
        self.resyncs = 0
        #: The broker was away and is back, by what noticed: ``store`` or ``layer``.
        self.reconnects: Counter[str] = Counter()
        #: The pump heard nothing, and was started anew.
        self.deaf = 0
        #: Events handed to their handler, and those whose handler failed, by channel and kind.
        self.events: Counter[tuple[str, ...]] = Counter()
        self.failures: Counter[tuple[str, ...]] = Counter()
        self.dead_letters = 0
        #: Is told how long, in seconds, a run of broadcasts took to be written to all it is for.
        self.fanned_out: Callable[[float], None] | None = None
        #: Is told a handled event's channel and kind, how long it waited, and how long its handler took.
        self.handled: Callable[[str, str, float, float], None] | None = None
        #: Is called each beat, and when a process ends its work.
        self.publish: Callable[[], None] | None = None

    def receive(self, data: str | bytes) -> None:
        """A message is in a mailbox."""
        self.received += 1
        self.received_bytes += size(data)


#: This process's.
tallies = Tallies()


def size(data: str | bytes) -> int:
    """In bytes."""
    return len(data) if isinstance(data, bytes) or data.isascii() else len(data.encode())
