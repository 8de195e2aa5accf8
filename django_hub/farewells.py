"""The farewells of a server that ends: its clients are told to go elsewhere, some at a time."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterable

from django_hub.connection import Connection

# Seconds from one batch to the next.
_PAUSE = 0.25


async def say_farewell(
    members: Iterable[Connection], send_away: Callable[[Connection], None], seconds: float
) -> None:
    """Send all members away, in batches of one size spread over ``seconds``; return then, or when all are
    gone.

    ``members`` is gone through anew for each batch: who comes meanwhile is sent away with the others, and
    who is sent away is to be a member no more. It never takes longer than ``seconds``; a few members do not
    take that long, for a batch has one at least.
    """
    rounds = max(1, math.ceil(seconds / _PAUSE))
    loop = asyncio.get_running_loop()
    begun = loop.time()
    for number in range(rounds):
        here = list(members)
        if not here:
            return
        # By lot: those of one hub should not all come to another server at once.
        for connection in random.sample(here, math.ceil(len(here) / (rounds - number))):
            send_away(connection)
        # To a point in time: what a batch costs must not add up.
        await asyncio.sleep(begun + (number + 1) * seconds / rounds - loop.time())
