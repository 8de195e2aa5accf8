"""What clients and hubs cost that do nothing."""

from __future__ import annotations

import asyncio

from benchmarks import gauges, stage
from benchmarks.generator import Measured, held
from benchmarks.inside import inside
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario

# There before, so that what the first ones make once is not counted.
_FIRST, _IDLE = 100, 2000
_CLIENT = Figure("bytes", "KiB a connection", scale=1 / 1024)
_HUB = Figure("bytes", "KiB a hub", scale=1 / 1024)
_TASKS = Figure("tasks", "tasks more than with one client")
_PATHS = {
    "django_hub": "/hub/fan/h/",
    "bare": "/bare/fan/h/",
    "stock Channels": "/stock/fan/h/",
}


def _connection(kind: str, path: str) -> Measure:
    async def measure(seconds: float) -> Measured:  # noqa: ARG001
        async with stage.alone(kind) as server, held(server.port, path, stage.OTHERS, clients=_FIRST):
            before = await asyncio.to_thread(gauges.quiet_memory, server.pid)
            async with held(server.port, path, stage.OTHERS, clients=_IDLE):
                after = await asyncio.to_thread(gauges.quiet_memory, server.pid)
        return {"bytes": (after - before) / _IDLE}

    return measure


def _hub(hubs: int, *, redis: bool) -> Measure:
    async def measure(seconds: float) -> Measured:  # noqa: ARG001
        alone = await inside("hub_memory", redis=redis, hubs=hubs, clients=hubs)
        shared = await inside("hub_memory", redis=redis, hubs=1, clients=hubs)
        return {"bytes": (alone["bytes"] - shared["bytes"]) / hubs, "tasks": alone["tasks"]}

    return measure


_HUBS = {"in memory, 100,000 hubs": (100_000, False), "on Redis, 20,000 hubs": (20_000, True)}

SCENARIOS = [
    Scenario(
        name="idle-memory",
        title=f"Memory of an idle connection, of {_IDLE:,} in one hub",
        figures=(_CLIENT,),
        contenders=[
            Contender(name=f"{what}, {kind}", measure=_connection(kind, path))
            for kind in ("daphne", "uvicorn")
            for what, path in _PATHS.items()
        ],
        comparisons=[
            Comparison(
                one=f"{what}, {kind}",
                other=f"bare, {kind}",
                figure=_CLIENT,
                difference=True,
                must=4.0 if what == "django_hub" else None,
                aim=2.0 if what == "django_hub" else None,
                most=True,
            )
            for kind in ("daphne", "uvicorn")
            for what in ("django_hub", "stock Channels")
        ],
        note="Pss of the server's process, when it has stopped changing, less what it was with the first "
        f"{_FIRST} connections. The in-memory layer: the members are in the server's process, too.",
    ),
    Scenario(
        name="idle-hub",
        title="Memory of an idle hub in a server's process: that of clients in a hub each, less that of as "
        "many in one hub",
        figures=(_HUB, _TASKS),
        contenders=[
            Contender(name=name, measure=_hub(hubs, redis=redis)) for name, (hubs, redis) in _HUBS.items()
        ],
        comparisons=[
            each
            for name in _HUBS
            for each in (
                Comparison(one=name, figure=_HUB, must=1.0, most=True),
                Comparison(one=name, figure=_TASKS, must=0, most=True),
            )
        ],
        note="In memory the store is in that process, too.",
    ),
]
