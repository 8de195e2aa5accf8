"""Ten thousand hubs of two."""

from __future__ import annotations

import resource

from benchmarks import stage
from benchmarks.generator import Measured, generate
from benchmarks.scenario import Comparison, Contender, Measure, Scenario
from benchmarks.scenarios.fan_out import RATE, SERVER_CPU

_OURS, _STOCK = "django_hub", "stock Channels"
# The server and the generator have a socket for each member, and some files more.
_HUBS = min(10_000, (stage.FILES - 500) // 2) if stage.FILES != resource.RLIM_INFINITY else 10_000


def _small_talk(path: str, hubs: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        async with stage.together("uvicorn") as (server,):
            # One whole round at least, however long it takes.
            load = {"clients": 2 * hubs, "hubs": hubs, "seconds": seconds, "patience": 120.0, "warmup": 0.0}
            return await generate(server.port, path, "rounds", stage.OTHERS, load, server.pid)

    return measure


def scenario(hubs: int = _HUBS) -> Scenario:
    return Scenario(
        name="many-hubs",
        title=f"{hubs:,} hubs of 2 members in one uvicorn process on Redis, one message each a round",
        figures=(RATE, SERVER_CPU),
        contenders=(
            Contender(name=_OURS, measure=_small_talk("/hub/fan/h%d/", hubs)),
            Contender(name=_STOCK, measure=_small_talk("/stock/fan/h%d/", hubs)),
        ),
        comparisons=(Comparison(one=_OURS, other=_STOCK, figure=RATE, must=5, aim=15),),
        note="The messages of a round come all at once. For 10,000 hubs `ulimit -Hn` must say 20,500.",
    )


SCENARIOS = [scenario()]
