"""Ten thousand hubs of two."""

from __future__ import annotations

import resource

from benchmarks import stage
from benchmarks.generator import Measured, Option, generate
from benchmarks.scenario import Comparison, Contender, Measure, Scenario
from benchmarks.scenarios.fan_out import RATE, SERVER_CPU

_OURS, _STOCK = "django_hub", "stock Channels"
_WINDOW = 1000
# The server and the generator have a socket for each member, and some files more.
_HUBS = min(10_000, (stage.FILES - 2000) // 2) if stage.FILES != resource.RLIM_INFINITY else 10_000


def _small_talk(path: str, channel: str, hubs: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        async with stage.together("uvicorn", channel=channel) as (server,):
            # One whole round at least, however long it takes.
            load: dict[str, Option] = {"clients": 2 * hubs, "hubs": hubs, "window": _WINDOW}
            load |= {"seconds": seconds, "patience": 120, "warmup": 0}
            return await generate(server.port, path, "rounds", stage.OTHERS, load, server.pid)

    return measure


def scenario(hubs: int = _HUBS) -> Scenario:
    return Scenario(
        name="many-hubs",
        title=f"{hubs:,} hubs of 2 members in one uvicorn process on Redis, one message each a round",
        figures=(RATE, SERVER_CPU),
        contenders=(
            Contender(name=_OURS, measure=_small_talk("/hub/fan/h%d/", "hub-fan", hubs)),
            Contender(name=_STOCK, measure=_small_talk("/stock/fan/h%d/", "stock-echo", hubs)),
        ),
        comparisons=(Comparison(one=_OURS, other=_STOCK, figure=RATE, must=5, aim=15),),
        note=f"In {_WINDOW:,} hubs at a time: stock Channels takes a connection to Redis for each, and "
        "ends sockets when there are no more. For 10,000 hubs `ulimit -Hn` must say 22,000.",
    )


SCENARIOS = [scenario()]
