"""What ``hub.v1`` costs beside raw messages, and numbers and history on Redis."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import stage
from benchmarks.generator import Measured, Option, generate
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario
from benchmarks.scenarios.fan_out import BUSY, RATE, SERVER_CPU, on_site

_RAW, _SPOKEN = "raw", "hub.v1"
_UNNUMBERED, _NUMBERED = "droppable", "numbered and kept"
_MEDIAN = Figure("p50_us", "ms, median of a round", scale=1e-3)

# How a client of hub.v1 says it. Its number stays the same, for what it says is put into no mailbox.
_SPEECH: Mapping[str, Option] = {
    "hello": '{"type":"connect"}',
    "ready": '{"type":"hello"',
    "prefix": '{"type":"message","id":1,"data":"',
    "suffix": '"}',
    "counts": '{"seq":',
}


def _spoken(burst: int, clients: int) -> Scenario:
    kinds = ("daphne", "uvicorn")
    return Scenario(
        name=f"hub-v1-{burst}",
        title=f"A broadcast of 100 bytes to {clients:,} clients of one server process on one core, "
        + ("one at a time" if burst == 1 else f"{burst} waiting")
        + ": raw, and in the envelopes of `hub.v1`",
        figures=(RATE, SERVER_CPU, BUSY),
        contenders=[
            contender
            for kind in kinds
            for contender in (
                Contender(name=f"{_RAW}, {kind}", measure=on_site(kind, "/hub/fan/h/", burst, clients)),
                Contender(
                    name=f"{_SPOKEN}, {kind}",
                    measure=on_site(kind, "/spoken/fan/h/", burst, clients, _SPEECH),
                ),
            )
        ],
        comparisons=[
            Comparison(one=f"{_SPOKEN}, {kind}", other=f"{_RAW}, {kind}", figure=RATE, must=0.9)
            for kind in kinds
        ],
        note="Both are numbered and kept: raw clients hear them in the order of their numbers, too.",
    )


def _through_redis(voice: str, load: Mapping[str, Option]) -> Measure:
    async def measure(seconds: float) -> Measured:
        async with stage.together("uvicorn", "uvicorn", channel="hub-fan") as (server, publisher):
            said = {**load, "seconds": seconds, "voice": voice, "voice_port": publisher.port}
            return await generate(server.port, "/hub/fan/h/", "rounds", stage.OTHERS, said, server.pid)

    return measure


def _numbers(name: str, title: str, load: Mapping[str, Option], compared: Comparison) -> Scenario:
    voices = {_UNNUMBERED: "/hub/droppable/h/", _NUMBERED: "/hub/voice/h/"}
    return Scenario(
        name=name,
        title=f"{title}, by another server process, through Redis: with numbers and history, and without",
        figures=(RATE, _MEDIAN, BUSY),
        contenders=[
            Contender(name=kind, measure=_through_redis(voice, load)) for kind, voice in voices.items()
        ],
        comparisons=(compared,),
        note="The publisher and the Valkey share their cores with the generator.",
    )


SCENARIOS = [
    _spoken(1, 1000),
    _spoken(16, 1000),
    _numbers(
        "numbers-bursts",
        "Bursts of 16 broadcasts, four bursts under way, said to 1,000 clients",
        {"clients": 1000, "burst": 16, "ahead": 4},
        Comparison(one=_NUMBERED, other=_UNNUMBERED, figure=RATE, must=0.75),
    ),
    _numbers(
        "numbers-latency",
        "One broadcast at a time said to 10 clients",
        {"clients": 10, "pause": 0.002},
        Comparison(one=_NUMBERED, other=_UNNUMBERED, figure=_MEDIAN, difference=True, must=0.5, most=True),
    ),
]
