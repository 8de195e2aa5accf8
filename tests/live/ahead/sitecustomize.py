# ruff: noqa: INP001 (a package would hide it from Python)
"""Python imports this by itself, before anything else: a process whose clock is wrong."""

import os
import time

_AHEAD = float(os.environ.get("CLOCK_AHEAD", "0"))
_time, _time_ns = time.time, time.time_ns

time.time = lambda: _time() + _AHEAD
time.time_ns = lambda: _time_ns() + int(_AHEAD * 1_000_000_000)
