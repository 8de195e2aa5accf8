"""The generator against its own trivial server: it must not be what is measured."""

from __future__ import annotations

from benchmarks import stage
from benchmarks.generator import Measured, generate, trivial_server
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario
from benchmarks.scenarios.fan_out import BUSY, RATE, SERVER_CPU
from tests.live.servers import free_port

_CLIENTS = 1000
_WAITING = "16 waiting"
_FRAMES = Figure("rate", "frames/s")


def _trivially(burst: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        port = free_port()
        async with trivial_server(port, stage.SERVER, _CLIENTS) as server:
            load = {"clients": _CLIENTS, "burst": burst, "seconds": seconds}
            return await generate(port, "/", "rounds", stage.OTHERS, load, server)

    return measure


SCENARIOS = [
    Scenario(
        name="generator",
        title=f"The load generator against its own trivial server, {_CLIENTS:,} clients",
        figures=(RATE, SERVER_CPU, BUSY),
        contenders=(
            Contender(name="one at a time", measure=_trivially(1)),
            Contender(name=_WAITING, measure=_trivially(16)),
        ),
        comparisons=(Comparison(one=_WAITING, figure=_FRAMES, must=500_000),),
        note="One at a time the trivial server is the limit: each frame is a system call of it, and it "
        "does nothing else. So who writes each frame by itself can't show much more than the first row on "
        "this machine. Where, in any table, the generator's share of its core comes near 100 %, it is the "
        "generator that was measured, and the server can do more.",
    )
]
