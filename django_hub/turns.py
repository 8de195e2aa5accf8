"""Turns: how long work on an event loop goes on before others are let."""

from __future__ import annotations

import asyncio

# In seconds.
_TURN = 0.005


class Turn:
    """One for all who work side by side."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._ends = self._clock() + _TURN

    @property
    def is_over(self) -> bool:
        return self._clock() > self._ends

    async def next(self) -> None:
        await asyncio.sleep(0)
        self._ends = self._clock() + _TURN
