"""Pairs: what one of two things costs more, where a machine's noise is larger than that."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

from benchmarks.generator import Measured

# Samples that are drawn, and what share of them the interval leaves out at each end.
_DRAWN = 2000
_LEFT_OUT = 0.025


def compared(turns: Sequence[tuple[bool, float]]) -> Measured:
    """What turns in the order off, on, on, off cost: ``more``, the median of how many percent more the two
    on in the middle used than the two around them; ``least`` and ``most``, the ends of its interval of
    95 % (bootstrap, drawn with a fixed seed); ``pairs``, how many of such fours there were."""
    ratios = []
    for start in range(0, len(turns) - 3, 4):
        (a, before), (b, first), (c, second), (d, after) = turns[start : start + 4]
        if (a, b, c, d) != (False, True, True, False):
            raise ValueError(f"Expected turns off, on, on, off; got {(a, b, c, d)} at {start}.")
        ratios.append(100 * ((first + second) / (before + after) - 1))
    if not ratios:
        raise ValueError(f"Expected four turns or more; got {len(turns)}.")
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(_DRAWN))
    out = int(_DRAWN * _LEFT_OUT)
    return {
        "more": statistics.median(ratios),
        "least": medians[out],
        "most": medians[-1 - out],
        "pairs": len(ratios),
    }
