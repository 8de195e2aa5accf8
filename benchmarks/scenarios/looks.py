"""Who looks at a site of many hubs: how long it takes, and what it costs the store."""

from __future__ import annotations

from benchmarks.generator import Measured
from benchmarks.inside import inside
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario

_MANY = 100_000
_STALL = Figure("stall_ms", "ms in which the server does nothing else, at most")
_BROKER = Figure("broker_us", "µs of the broker's CPU a look")
_LONGEST = Figure("longest_us", "µs of the broker's longest command")
_PICTURES = [
    Figure("busiest_ms", "ms a look at the busiest"),
    Figure("named_ms", "ms at a page by name"),
    Figure("searched_ms", "ms at what a search finds"),
]
_SECONDS = Figure("seconds", "s for all of them")
_ALL = Figure("broker_us", "ms of the broker's CPU", scale=1e-3)


def _looks(hubs: int, *, redis: bool, mail: bool = False) -> Measure:
    async def measure(seconds: float) -> Measured:  # noqa: ARG001 (it is done when it is)
        return await inside("looks", redis=redis, hubs=hubs, mail=mail)

    return measure


def _listing(hubs: int) -> Measure:
    async def measure(seconds: float) -> Measured:  # noqa: ARG001
        return await inside("listing", redis=True, hubs=hubs)

    return measure


_LOOKED_AT = {
    "100 hubs in memory": _looks(100, redis=False),
    "100,000 hubs in memory": _looks(_MANY, redis=False),
    "100 hubs on Valkey": _looks(100, redis=True),
    "100,000 hubs on Valkey": _looks(_MANY, redis=True),
    "1,000 hubs with mail on Valkey": _looks(1000, redis=True, mail=True),
}

SCENARIOS = [
    Scenario(
        name="looks",
        title="A look of the admin's page at so many hubs with a client each",
        figures=(*_PICTURES, Figure("first_ms", "ms the first time"), _STALL, _BROKER, _LONGEST),
        contenders=[Contender(name=name, measure=measure) for name, measure in _LOOKED_AT.items()],
        comparisons=[
            Comparison(one=name, figure=figure, must=must, most=True)
            for name in _LOOKED_AT
            for figure, must in ((_STALL, 50.0), (_LONGEST, 10_000.0))
            if "100,000" in name
        ],
        note="All in one process, which has the clients, looks and answers. With mail: every hub has "
        "some, and nobody handles it.",
    ),
    Scenario(
        name="hubs-list",
        title="manage.py hubs list --most 0 --json of so many hubs, on Valkey",
        figures=(_SECONDS, _ALL, _LONGEST),
        contenders=[
            Contender(name=f"{count:,}", measure=_listing(count), at=count) for count in (100, _MANY)
        ],
        comparisons=(
            Comparison(one="100,000", figure=_SECONDS, must=30.0, most=True),
            Comparison(one="100,000", figure=_LONGEST, must=10_000.0, most=True),
        ),
        note="With the start of Python and Django.",
    ),
]
