"""What a broadcast costs the server that sends it, as one thing or another grows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from benchmarks import stage
from benchmarks.generator import Measured, generate, held
from benchmarks.inside import inside
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario

_COST = Figure("round_cpu_us", "µs of the server's CPU a broadcast")
_ALL = Figure("all_round_cpu_us", "µs of CPU a broadcast, all servers together")
_PER_MEMBER = Figure("cpu_us", "µs of the server's CPU a member")
_PATH = "/hub/fan/h/"
_LOCAL = 10


def _members(count: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        async with stage.alone("uvicorn") as server:
            load = {"clients": count, "seconds": seconds}
            return await generate(server.port, _PATH, "rounds", stage.OTHERS, load, server.pid)

    return measure


def _hubs(count: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        return await inside("hub_broadcast", redis=False, others=count, members=_LOCAL, seconds=seconds)

    return measure


async def _beside(others: int, clients: int, rate: float, seconds: float) -> Measured:
    """The server that sends has few members, and each of the other ones so many.

    ``rate``: broadcasts a second, slow enough for the other servers, which share what cores are left.
    """
    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(
            stage.together(*["uvicorn"] * (others + 1), channel="hub-fan")
        )
        for other in servers[1:]:
            await stack.enter_async_context(held(other.port, _PATH, stage.OTHERS, clients=clients))
        load = {"clients": _LOCAL, "pause": 1 / rate, "seconds": seconds}
        return await generate(
            servers[0].port, _PATH, "rounds", stage.OTHERS, load, *(each.pid for each in servers)
        )


def _members_elsewhere(count: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        return await _beside(1, count, 20, seconds)

    return measure


def _processes(count: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        return await _beside(count - 1, _LOCAL, 50, seconds)

    return measure


def _points(measure: Callable[[int], Measure], counts: Sequence[int]) -> list[Contender]:
    return [Contender(name=f"{count:,}", measure=measure(count), at=count) for count in counts]


SCENARIOS = [
    Scenario(
        name="growth-members",
        title="A broadcast to so many members of one uvicorn process",
        figures=(_COST, _PER_MEMBER),
        contenders=_points(_members, (10, 100, 1000, 10_000)),
        comparisons=(Comparison(one="10,000", other="1,000", figure=_PER_MEMBER, most=True),),
        axis="local members",
    ),
    Scenario(
        name="growth-hubs",
        title=f"A broadcast to {_LOCAL} members of one hub, among so many other hubs of the process",
        figures=(_COST,),
        contenders=_points(_hubs, (10, 100, 1000, 10_000, 100_000)),
        comparisons=(Comparison(one="100,000", other="10", figure=_COST, must=1.2, most=True),),
        axis="other hubs",
        note="Inside of one process, with clients that take all and have no sockets.",
    ),
    Scenario(
        name="growth-elsewhere",
        title=f"A broadcast to {_LOCAL} members of the sending process and so many of another, on Redis",
        figures=(_COST,),
        contenders=_points(_members_elsewhere, (10, 100, 1000, 5000)),
        comparisons=(Comparison(one="5,000", other="10", figure=_COST, most=True),),
        axis="members in another process",
        note="20 broadcasts a second: the cost includes what the server's beat and loop take anyway.",
    ),
    Scenario(
        name="growth-processes",
        title=f"A broadcast to so many processes with {_LOCAL} members each, on Redis",
        figures=(_COST, _ALL),
        contenders=_points(_processes, (1, 2, 4, 8)),
        comparisons=(Comparison(one="8", other="1", figure=_COST, most=True),),
        axis="processes",
        note="50 broadcasts a second: the cost includes what the server's beat and loop take anyway.",
    ),
]
