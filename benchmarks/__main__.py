"""python -m benchmarks: all scenarios against their peers, as tables of ratios, and as plots.

    python -m benchmarks [--rounds 3] [--seconds 4] [--results FOLDER] [--write] [name ...]

Rounds alternate between the contenders, and a ratio is of the two figures of one round: this keeps a
machine's slow minutes from deciding. What is written goes to benchmarks/results/; scenarios that
were not chosen keep what they have there. With --write it is written anew, and nothing measured.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, report, stage, tables
from benchmarks.generator import Measured
from benchmarks.results import Result
from benchmarks.scenario import Contender, Scenario
from benchmarks.scenarios import SCENARIOS

RESULTS = Path(__file__).with_name("results")


async def measured(scenario: Scenario, rounds: int, seconds: float) -> Result:
    """The scenario's rounds; contenders that lack something are left out."""
    missing = {each.name: each.missing() for each in scenario.contenders if each.missing()}
    there = [each for each in scenario.contenders if each.name not in missing]
    found = []
    for number in range(rounds):
        came = {each.name: await _once(scenario, each, seconds) for each in _turned(there, number)}
        found.append({each.name: came[each.name] for each in there})
    return Result(
        scenario=scenario.name,
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        machine=machine.machine(),
        versions=machine.versions(),
        seconds=seconds,
        rounds=found,
        missing=missing,
    )


def _turned(contenders: Sequence[Contender], number: int) -> Sequence[Contender]:
    return contenders[::-1] if number % 2 else contenders


async def _once(scenario: Scenario, contender: Contender, seconds: float) -> Measured:
    began = time.monotonic()
    found = await contender.measure(seconds)
    figures = ", ".join(f"{tables.number(found[f.key] * f.scale)} {f.unit}" for f in scenario.figures)
    took = time.monotonic() - began
    print(f"{scenario.name}: {contender.name}: {figures} ({took:.0f} s)", file=sys.stderr, flush=True)
    return found


def _is_meant(name: str, wanted: Sequence[str], known: Sequence[str]) -> bool:
    return not wanted or any(name == word if word in known else name.startswith(word) for word in wanted)


async def main() -> None:
    known = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(known)}, or how these begin; none: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    parser.add_argument("--write", action="store_true", help="only write the page and the plots anew")
    options = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if _is_meant(scenario.name, options.names, known)]
    if not chosen:
        parser.error(f"no scenario begins so; there are {', '.join(known)}")
    options.results.mkdir(parents=True, exist_ok=True)
    stage.raise_limits()
    for scenario in [] if options.write else chosen:
        result = await measured(scenario, options.rounds, options.seconds)
        result.write(options.results)
        print("\n".join(tables.section(scenario, result)), flush=True)
    print(report.write(options.results))


if __name__ == "__main__":
    asyncio.run(main())
