"""What the broker has to do for a broadcast, as the servers become more: a simulation of their relays."""

from __future__ import annotations

from benchmarks.generator import Measured
from benchmarks.inside import inside
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario

_BROKER = Figure("broker_us", "µs of the broker's CPU a broadcast")
_FIGURES = (
    _BROKER,
    Figure("calls", "commands a broadcast"),
    Figure("bytes_in", "bytes in a broadcast"),
    Figure("bytes_out", "bytes out a broadcast"),
)
_COUNTS = (1, 4, 16, 64)


def _relays(count: int, burst: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        return await inside("relays", redis=True, count=count, burst=burst, seconds=seconds)

    return measure


SCENARIOS = [
    Scenario(
        name=f"relays-{burst}",
        title="A broadcast of 100 bytes to so many relays with a client each, on one Valkey, "
        + ("one at a time" if burst == 1 else f"{burst} waiting"),
        figures=_FIGURES,
        contenders=[
            Contender(name=f"{count:,}", measure=_relays(count, burst), at=count) for count in _COUNTS
        ],
        comparisons=(Comparison(one="64", other="1", figure=_BROKER, most=True),),
        axis="relays",
        note="Real relays in one process; the commands include those of scripts.",
    )
    for burst in (1, 16)
]
