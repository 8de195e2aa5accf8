"""What metrics cost: a fan-out with them, beside the same without."""

from __future__ import annotations

from benchmarks.peers.peer import module_missing
from benchmarks.scenario import Comparison, Contender, Scenario
from benchmarks.scenarios.fan_out import BUSY, RATE, SERVER_CPU, on_site

_KINDS = ("daphne", "uvicorn")
_OFF, _ON = "off", "METRICS"


def _scenario(burst: int, clients: int) -> Scenario:
    return Scenario(
        name=f"metrics-{burst}",
        title=f"A broadcast of 100 bytes to {clients:,} clients of one server process on one core, "
        + ("one at a time" if burst == 1 else f"{burst} waiting")
        + ": with `METRICS`, and without",
        figures=(RATE, SERVER_CPU, BUSY),
        contenders=[
            Contender(
                name=f"{what}, {kind}",
                measure=on_site(kind, "/hub/fan/h/", burst, clients, METRICS=what),
                missing=module_missing("prometheus_client", "metrics"),
            )
            for kind in _KINDS
            for what in (_OFF, _ON)
        ],
        comparisons=[
            Comparison(one=f"{_ON}, {kind}", other=f"{_OFF}, {kind}", figure=RATE, must=0.97)
            for kind in _KINDS
        ],
        note="Without them what is counted is counted, too; no clock is read, and nothing else is kept.",
    )


SCENARIOS = [_scenario(1, 1000), _scenario(16, 1000)]
