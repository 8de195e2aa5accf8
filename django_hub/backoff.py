"""Waiting times between tries: exponential, with full jitter.

Full jitter (a time between nothing and the bound) spreads callers that failed together; see "Exponential
Backoff And Jitter", AWS Architecture Blog, 2015.
"""

from __future__ import annotations

import random
from collections.abc import Iterator


def waits(first: float = 0.05, most: float = 2.0) -> Iterator[float]:
    """Endless times in seconds: each random, up to a bound that doubles from ``first`` to ``most``."""
    bound = first
    while True:
        yield random.uniform(0, bound)  # noqa: S311 (nothing secret)
        bound = min(bound * 2, most)
