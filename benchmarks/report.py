"""The page of all results: tables and plots."""

from __future__ import annotations

from pathlib import Path

from benchmarks import plots, tables
from benchmarks.results import Result
from benchmarks.scenario import Scenario
from benchmarks.scenarios import SCENARIOS

_HEAD = """# Results

Written by `python -m benchmarks`; see
[how it is measured](../../docs/explanation/performance.md#how-it-is-measured). Each figure is the median
of its rounds (and the least and the most of them); what is compared is always of one round, so that a
machine's slow minutes hit both. A level counts as reached by the median. Raw figures: the JSON files.
"""


def write(folder: Path) -> Path:
    """Write the page, and the plots, of all that is in the folder."""
    found = [
        (each, result)
        for each in SCENARIOS
        if (result := Result.read(folder, each.name)) and result.has(each.figures)
    ]
    lines = [_HEAD]
    drawn = plots.draw(folder, {scenario.name: (scenario, result) for scenario, result in found})
    lines += [f"![{title}]({file.name})\n" for title, file in drawn.items()]
    lines += [*_levels(found), *_measured_on(found)]
    for scenario, result in found:
        lines += tables.section(scenario, result)
    page = folder / "README.md"
    page.write_text("\n".join(lines).rstrip() + "\n")
    return page


def _levels(found: list[tuple[Scenario, Result]]) -> list[str]:
    """How many levels were reached, and which were not."""
    verdicts = [
        (scenario.name, tables.title(comparison), tables.reached(comparison, compared))
        for scenario, result in found
        for comparison in scenario.comparisons
        if (compared := result.compared(comparison))
    ]
    asked = [each for each in verdicts if each[2]]
    if not asked:
        return []
    failed = [f"- {name}: {title}" for name, title, verdict in asked if verdict == tables.MISSED]
    head = f"{len(asked) - len(failed)} of {len(asked)} levels are reached"
    return [head + (", all but\n" if failed else ".\n"), *failed, ""]


def _measured_on(found: list[tuple[Scenario, Result]]) -> list[str]:
    """The machine and the versions; of which scenarios, where they are not all of one run."""
    places: dict[str, list[str]] = {}
    for scenario, result in found:
        places.setdefault(f"{result.machine}; {result.versions}", []).append(scenario.name)
    if len(places) == 1:
        return [f"On {next(iter(places))}.", ""]
    return [line for place, names in places.items() for line in (f"{', '.join(names)}: on {place}.", "")]
