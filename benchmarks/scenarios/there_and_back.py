"""From a client through Redis and a worker and back; and what of it can be measured alone."""

from __future__ import annotations

from benchmarks import stage
from benchmarks.generator import Measured, generate
from benchmarks.inside import inside
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario

_OURS, _STOCK = "django_hub", "stock Channels"
_MESSAGES = Figure("rate", "messages/s")
_MEDIAN = Figure("p50_us", "µs, median of one round")
_CALLS = Figure("rate", "calls/s")


def _through(path: str, channel: str, hubs: int, clients: int, outstanding: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        async with stage.site("uvicorn", channel) as server:
            cores = stage.SERVER | stage.OTHERS
            load = {"clients": clients, "outstanding": outstanding, "hubs": hubs, "seconds": seconds}
            return await generate(server.port, path, "echo", cores, load)

    return measure


def _contenders(hubs: int, clients: int = 100, outstanding: int = 8) -> list[Contender]:
    ways = {_OURS: ("/hub/echo/h%d/", "hub-echo"), _STOCK: ("/stock/echo/h%d/", "stock-echo")}
    return [
        Contender(name=name, measure=_through(path, channel, hubs, clients, outstanding))
        for name, (path, channel) in ways.items()
    ]


def _inside(name: str) -> Measure:
    async def measure(seconds: float) -> Measured:
        return await inside(name, redis=True, seconds=seconds)

    return measure


SCENARIOS = [
    *(
        Scenario(
            name=f"there-and-back-{hubs}",
            title="Client → server → Redis → worker → Redis → server → client, 100 clients with 8 messages "
            f"outstanding each, in {hubs} hub{'s' * (hubs > 1)}",
            figures=(
                _MESSAGES,
                Figure("p50_us", "median ms", scale=1e-3),
                Figure("p99_us", "p99 ms", scale=1e-3),
            ),
            contenders=_contenders(hubs),
            comparisons=(Comparison(one=_OURS, other=_STOCK, figure=_MESSAGES, must=20),),
        )
        for hubs in (1, 10, 100)
    ),
    Scenario(
        name="latency",
        title="The same with one client and one message outstanding",
        figures=(_MEDIAN,),
        contenders=_contenders(1, 1, 1),
        comparisons=(Comparison(one=_OURS, other=_STOCK, figure=_MEDIAN, must=1.0, most=True),),
    ),
    Scenario(
        name="blocking",
        title="A broadcast from a thread: `sync.hub_broadcast` against `async_to_sync(layer.group_send)`",
        figures=(_CALLS,),
        contenders=(
            Contender(name=_OURS, measure=_inside("blocking_hub_broadcast")),
            Contender(name=_STOCK, measure=_inside("blocking_group_send")),
        ),
        comparisons=(Comparison(one=_OURS, other=_STOCK, figure=_CALLS, must=5),),
    ),
    Scenario(
        name="joins",
        title="Joins of one process, each in a hub of its own, with the store's round trips",
        figures=(Figure("rate", "joins/s"),),
        contenders=(Contender(name=_OURS, measure=_inside("joins")),),
    ),
]
