"""A broadcast whose sender is in another process."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import stage
from benchmarks.generator import Measured, Option, generate
from benchmarks.scenario import Comparison, Contender, Measure, Scenario
from benchmarks.scenarios.fan_out import BUSY, RATE, SERVER_CPU

_WITHOUT, _WITH = "in memory", "through Redis"
# The next burst is on its way while one is delivered: else the way there is what is measured.
_LOAD: Mapping[str, Option] = {"clients": 1000, "burst": 16, "ahead": 4}


def _in_memory(kind: str) -> Measure:
    async def measure(seconds: float) -> Measured:
        async with stage.alone(kind) as server:
            load = {**_LOAD, "seconds": seconds}
            return await generate(server.port, "/hub/fan/h/", "rounds", stage.OTHERS, load, server.pid)

    return measure


def _through_redis(kind: str) -> Measure:
    async def measure(seconds: float) -> Measured:
        async with stage.together(kind, "uvicorn", channel="hub-fan") as (server, publisher):
            load = {**_LOAD, "seconds": seconds, "voice": "/hub/voice/h/", "voice_port": publisher.port}
            return await generate(server.port, "/hub/fan/h/", "rounds", stage.OTHERS, load, server.pid)

    return measure


SCENARIOS = [
    Scenario(
        name=f"through-redis-{kind}",
        title=f"Bursts of 16 broadcasts, four bursts under way, to 1,000 clients of one {kind} process: "
        "sent by one of these clients, in memory; and by another server process, through Redis",
        figures=(RATE, SERVER_CPU, BUSY),
        contenders=(
            Contender(name=_WITHOUT, measure=_in_memory(kind)),
            Contender(name=_WITH, measure=_through_redis(kind)),
        ),
        comparisons=(Comparison(one=_WITH, other=_WITHOUT, figure=RATE, must=0.9),),
        note="The publisher and the Valkey share their cores with the generator: with two cores in all "
        "they are in each other's way. The server's CPU a delivery is free of that.",
    )
    for kind in ("daphne", "uvicorn")
]
