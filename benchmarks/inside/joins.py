"""How many clients a process takes in."""

from __future__ import annotations

import time

from benchmarks.generator import Measured
from benchmarks.inside.clients import connection, join, leave
from django_hub.connection import Connection

_AT_ONCE = 200


async def joins(seconds: float) -> Measured:
    """Each in a hub of its own."""
    clock = time.perf_counter
    joined: list[Connection] = []
    began, before = 0.0, 0
    # The first round opens connections and loads scripts.
    for warm in (True, False):
        began, before = clock(), len(joined)
        while clock() - began < (min(0.5, seconds) if warm else seconds):
            names = [f"h{len(joined) + number}" for number in range(_AT_ONCE)]
            some = [connection(name, name) for name in names]
            await join(some)
            joined += some
    took, count = clock() - began, len(joined) - before
    await leave(joined)
    return {"rate": count / took}
