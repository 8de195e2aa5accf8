"""What metrics and checks cost: a fan-out with them and without, in turn, in one process."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.generator import Measured
from benchmarks.pairs import compared
from benchmarks.peers.peer import module_missing
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario
from benchmarks.scenarios.fan_out import SERVER_CPU, on_site

_KINDS = ("daphne", "uvicorn")
_ON, _NOTHING = "METRICS", "nothing"
_MORE = Figure("more", "% more of it when on")
_LEAST = Figure("least", "% more at least (95 %)")
_MOST = Figure("most", "% more at most (95 %)")
_PAIRS = Figure("pairs", "comparisons")

# Bursts of a turn. The shorter turns are the less changes between them; the switch itself is not counted.
_TURN = 2
# The first turns are of a server that is not warm yet: they are as many fours as this.
_COLD = 4
# As long as others' rounds it could not tell.
_LONGER = 5


def _in_turn(kind: str, of: str, burst: int, clients: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "turns"
            env = {"TURNS": str(file), "TURNS_OF": of, "TURN": str(_TURN * burst)}
            found = await on_site(kind, "/turns/fan/h/", burst, clients, **env)(_LONGER * seconds)
            lines = [line.split() for line in file.read_text().splitlines()]
        turns = [(on == "1", float(used)) for on, used in lines]
        return {**found, **compared(turns[4 * _COLD :])}

    return measure


def scenario(burst: int, clients: int = 1000) -> Scenario:
    return Scenario(
        name=f"metrics-{burst}",
        title=f"A broadcast of 100 bytes to {clients:,} clients of one server process on one core, "
        + ("one at a time" if burst == 1 else f"{burst} waiting")
        + ": with `METRICS` and the bound `rate`, and without, in turn",
        figures=(SERVER_CPU, _MORE, _LEAST, _MOST, _PAIRS),
        contenders=[
            Contender(
                name=f"{what}, {kind}",
                measure=_in_turn(kind, what, burst, clients),
                missing=module_missing("prometheus_client", "metrics"),
            )
            for kind in _KINDS
            for what in (_ON, _NOTHING)
        ],
        comparisons=[
            Comparison(one=f"{_ON}, {kind}", figure=_MOST, must=3.0, most=True) for kind in _KINDS
        ],
        note="In one process they are switched every two broadcasts, in the order off, on, on, off, and "
        "what the two in the middle use of the processor is compared with the two around them. `nothing` "
        "switches nothing: it shows how well this can tell. Without metrics what is counted is counted, "
        "too; no clock is read, and nothing else is kept.",
    )


SCENARIOS = [scenario(1), scenario(16)]
