"""python -m benchmarks: all scenarios against their peers, as a table of ratios.

    python -m benchmarks [--rounds 3] [--seconds 4] [name ...]

Rounds alternate between the contenders, and a ratio is of the two figures of one round: this keeps a
machine's slow minutes from deciding. The table goes to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import stage
from benchmarks.generator import Measured
from benchmarks.scenarios import SCENARIOS, Scenario

RESULTS = Path(__file__).with_name("results")


async def measured(scenario: Scenario, rounds: int, seconds: float) -> list[dict[str, Measured]]:
    found = []
    for number in range(rounds):
        order = list(scenario.contenders.items())
        if number % 2:
            order.reverse()
        found.append({name: await measure(seconds) for name, measure in order})
        figures = ", ".join(f"{name} {each[scenario.figure]:,.0f}" for name, each in found[-1].items())
        print(f"{scenario.name}: {figures} {scenario.unit}", file=sys.stderr, flush=True)
    return found


def table(scenario: Scenario, rounds: Sequence[dict[str, Measured]]) -> list[str]:
    """The scenario's rows: each contender's figure, and ours as a multiple of it."""
    lines = [
        f"### {scenario.name}",
        "",
        f"{scenario.title[0].upper()}{scenario.title[1:]}.",
        "",
        f"| | {scenario.unit} (median) | django_hub is (median, min to max) | must be |",
        "|---|---:|---:|---:|",
    ]
    for name in scenario.contenders:
        figures = [each[name][scenario.figure] for each in rounds]
        ratio, level = "", ""
        if name != scenario.ours:
            ours = [each[scenario.ours][scenario.figure] for each in rounds]
            ratios = [mine / other for mine, other in zip(ours, figures, strict=True) if other]
            ratio = f"{statistics.median(ratios):.2f} × ({min(ratios):.2f} to {max(ratios):.2f})"
            if name in scenario.levels:
                level = f"{'≤' if scenario.least else '≥'} {scenario.levels[name]:g} ×"
        lost = sum(each[name].get("missing", 0) + each[name].get("closed", 0) for each in rounds)
        remark = f" ({lost:,.0f} messages lost or sockets closed)" if lost else ""
        lines.append(f"| {name}{remark} | {statistics.median(figures):,.0f} | {ratio} | {level} |")
    return [*lines, ""]


async def main() -> None:
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"beginnings of: {', '.join(names)}; none: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    chosen = [s for s in SCENARIOS if not options.names or s.name.startswith(tuple(options.names))]
    if not chosen:
        parser.error(f"no scenario begins so; there are {', '.join(names)}")
    RESULTS.mkdir(exist_ok=True)
    for scenario in chosen:
        rows = table(scenario, await measured(scenario, options.rounds, options.seconds))
        machine = (
            f"{options.rounds} rounds of {options.seconds:g} s, {len(stage.CORES)} cores, "
            f"CPython {platform.python_version()}."
        )
        (RESULTS / f"{scenario.name}.md").write_text("\n".join([*rows, machine, ""]))
        print("\n".join(rows), flush=True)


asyncio.run(main())
