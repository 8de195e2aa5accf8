"""The scenarios: each measures all its contenders once, in one round."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks import inside, stage
from benchmarks.generator import Measured, generate

Measure = Callable[[float], Awaitable[Measured]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``contenders`` measure for so many seconds; ``ours`` is compared to each of the others by ``figure``.

    ``levels``: what the ratio to a contender must be. ``least``: where a smaller figure is the better one.
    """

    name: str
    title: str
    figure: str
    unit: str
    contenders: dict[str, Measure]
    levels: dict[str, float]
    ours: str = "django_hub"
    least: bool = False


def _there_and_back(hubs: int, clients: int = 100, outstanding: int = 8) -> dict[str, Measure]:
    def through(path: str, channel: str, layer: str = "core") -> Measure:
        async def measure(seconds: float) -> Measured:
            async with stage.site("uvicorn", channel, layer) as server:
                cores = stage.SERVER | stage.OTHERS
                load = {"clients": clients, "outstanding": outstanding, "hubs": hubs, "seconds": seconds}
                return await generate(server.port, path, "echo", cores, **load)

        return measure

    return {
        "django_hub": through("/hub/echo/h%d/", "hub-echo"),
        "stock Channels": through("/stock/echo/h%d/", "stock-echo"),
    }


def _fan_out(kind: str, burst: int) -> dict[str, Measure]:
    def to_all(path: str, **env: str) -> Measure:
        async def measure(seconds: float) -> Measured:
            async with stage.alone(kind, **env) as server:
                load = {"clients": 1000, "burst": burst, "seconds": seconds}
                return await generate(server.port, path, "rounds", stage.OTHERS, **load)

        return measure

    return {
        "django_hub": to_all("/hub/fan/h/"),
        "django_hub, WIRES=()": to_all("/hub/fan/h/", WIRES="off"),
        "bare loop": to_all("/bare/fan/h/"),
        "stock Channels": to_all("/stock/fan/h/"),
    }


async def _joins(seconds: float) -> Measured:
    return await asyncio.to_thread(inside.joins, seconds)


async def _blocking(seconds: float) -> Measured:
    return await asyncio.to_thread(inside.blocking_hub_broadcast, seconds)


async def _blocking_stock(seconds: float) -> Measured:
    return await asyncio.to_thread(inside.blocking_group_send, seconds)


_FAN_OUT_LEVELS = {
    "daphne": {"bare loop": 6, "stock Channels": 45},
    "uvicorn": {"bare loop": 1.6, "stock Channels": 45},
}

SCENARIOS = [
    *(
        Scenario(
            name=f"there-and-back-{hubs}",
            title="client → server → Redis → worker → Redis → server → client, 100 clients with 8 messages "
            f"outstanding each, in {hubs} hub{'s' * (hubs > 1)}",
            figure="rate",
            unit="messages/s",
            contenders=_there_and_back(hubs),
            levels={"stock Channels": 20},
        )
        for hubs in (1, 10, 100)
    ),
    Scenario(
        name="latency",
        title="the same with one client and one message outstanding: the median time",
        figure="p50_us",
        unit="µs",
        contenders=_there_and_back(1, 1, 1),
        levels={"stock Channels": 1.0},
        least=True,
    ),
    Scenario(
        name="blocking",
        title="a broadcast from a thread: sync.hub_broadcast against async_to_sync(layer.group_send)",
        figure="rate",
        unit="calls/s",
        contenders={"django_hub": _blocking, "stock Channels": _blocking_stock},
        levels={"stock Channels": 5},
    ),
    Scenario(
        name="joins",
        title="joins of one process, each in a hub of its own, with the store's round trips",
        figure="rate",
        unit="joins/s",
        contenders={"django_hub": _joins},
        levels={},
    ),
    *(
        Scenario(
            name=f"fan-out-{kind}-{burst}",
            title=f"a broadcast to 1,000 clients of one {kind} process, "
            + ("one at a time" if burst == 1 else f"{burst} waiting"),
            figure="rate",
            unit="deliveries/s",
            contenders=_fan_out(kind, burst),
            levels=_FAN_OUT_LEVELS[kind] if burst == 1 else {},
        )
        for kind in ("daphne", "uvicorn")
        for burst in (1, 16)
    ),
]
