"""Turns: what is measured is on, and off, in one process, a few broadcasts each.

A machine's slow seconds, and whatever differs from one process to the next (how its memory lies, how its
dictionaries hash), then hit both. Of each turn the processor time is written down that the process used.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO, ClassVar

from benchmarks.site.consumers import HubFan
from django_hub import metrics

# What drifts evenly counts as much for the one as for the other.
_ORDER = (False, True, True, False)
# Never reached: it is what looking at it costs.
_RATE = 1e9


class HubTurns(HubFan):
    """``TURNS``: the file; ``TURN``: messages of a turn; ``TURNS_OF``: METRICS, or anything else: then
    nothing is switched, and what is seen is how well this can tell."""

    began: ClassVar[int] = 0
    count: ClassVar[int] = 0
    turn: ClassVar[int] = 0
    out: ClassVar[IO[str] | None] = None
    length: ClassVar[int] = int(os.environ.get("TURN", "1"))

    async def on_message(self, data: str | bytes) -> None:
        if HubTurns.count % self.length == 0:
            HubTurns.next_turn()
        HubTurns.count += 1
        await super().on_message(data)

    @classmethod
    def next_turn(cls) -> None:
        used = time.process_time_ns() - cls.began
        if cls.out is None:
            cls.out = Path(os.environ["TURNS"]).open("w", buffering=1)  # noqa: SIM115 (to the process's end)
        else:
            cls.out.write(f"{int(_ORDER[(cls.turn - 1) % 4])} {used}\n")
        if os.environ["TURNS_OF"] == "METRICS":
            cls.switch(_ORDER[cls.turn % 4])
        cls.turn += 1
        cls.began = time.process_time_ns()

    @classmethod
    def switch(cls, on: bool) -> None:
        cls.rate = _RATE if on else None
        if on:
            metrics.start()
        else:
            metrics.stop()
