"""One client that does not read."""

from __future__ import annotations

from benchmarks import gauges, stage
from benchmarks.generator import Measured, Option, generate
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario

_CLIENTS, _SIZE, _MEGABYTES = 10, 50_000, 200
_GROWTH = Figure("growth", "MiB the server grew", scale=2**-20)
_LATE = Figure("p99_us", "p99 of a delivery to the others, ms", scale=1e-3)
_MEDIAN = Figure("p50_us", "median, ms", scale=1e-3)
_CALM, _STALLED = "django_hub, all read", "django_hub, one does not"
_STOCK_CALM, _STOCK_STALLED = "stock Channels, all read", "stock Channels, one does not"


def _volume(kind: str, path: str, stalled: int) -> Measure:
    async def measure(seconds: float) -> Measured:  # noqa: ARG001 (it is over when all is sent)
        async with stage.alone(kind) as server:
            load: dict[str, Option] = {"clients": _CLIENTS, "size": _SIZE, "seconds": 1, "patience": 10}
            # What a process takes for itself, once.
            await generate(server.port, path, "rounds", stage.OTHERS, load)
            before = gauges.resident(server.pid)
            gauges.forget_peak(server.pid)
            rounds = _MEGABYTES * 1_000_000 // _SIZE
            load |= {"stalled": stalled, "rounds": rounds, "deliveries": 1, "warmup": 0}
            measured = await generate(server.port, path, "rounds", stage.OTHERS, load, server.pid)
            return {**measured, "growth": gauges.peak(server.pid) - before}

    return measure


SCENARIOS = [
    Scenario(
        name=f"stalled-{kind}",
        title=f"{_MEGABYTES} MB are broadcast to {_CLIENTS} clients of one {kind} process, in messages of "
        f"{_SIZE // 1000} kB, one at a time; one client never reads",
        figures=(_GROWTH, _MEDIAN, _LATE),
        contenders=(
            Contender(name=_CALM, measure=_volume(kind, "/hub/fan/h/", 0)),
            Contender(name=_STALLED, measure=_volume(kind, "/hub/fan/h/", 1)),
            Contender(name=_STOCK_CALM, measure=_volume(kind, "/stock/fan/h/", 0)),
            Contender(name=_STOCK_STALLED, measure=_volume(kind, "/stock/fan/h/", 1)),
        ),
        comparisons=(
            Comparison(one=_STALLED, figure=_GROWTH, must=20, most=True),
            Comparison(one=_STALLED, other=_CALM, figure=_LATE, must=1.2, most=True),
            Comparison(one=_STOCK_STALLED, figure=_GROWTH, most=True),
            Comparison(one=_STOCK_STALLED, other=_STOCK_CALM, figure=_LATE, most=True),
        ),
        note="Growth is the most that was resident, less what was before.",
    )
    for kind in ("daphne", "uvicorn")
]
