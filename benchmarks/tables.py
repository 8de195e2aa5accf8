"""Tables of one scenario, in Markdown."""

from __future__ import annotations

from benchmarks.results import Range, Result
from benchmarks.scenario import Comparison, Scenario

MISSED = "**no**"


def number(value: float) -> str:
    """Three digits that say something."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def ranged(found: Range, *, several: bool) -> str:
    if not several or found.least == found.most:
        return number(found.median)
    return f"{number(found.median)} ({number(found.least)} to {number(found.most)})"


def figures(scenario: Scenario, result: Result) -> list[str]:
    """Each contender's figures."""
    several = len(result.rounds) > 1
    lines = [
        f"| {scenario.axis} | {' | '.join(figure.unit for figure in scenario.figures)} |",
        f"|---|{'---:|' * len(scenario.figures)}",
    ]
    for name in result.contenders:
        lost = result.lost(name)
        remark = f" ({number(lost)} messages lost or sockets closed)" if lost else ""
        cells = [ranged(result.of(name, figure), several=several) for figure in scenario.figures]
        lines.append(f"| {name}{remark} | {' | '.join(cells)} |")
    return lines


def comparisons(scenario: Scenario, result: Result) -> list[str]:
    """What is compared, and whether the levels were reached: by the median."""
    several = len(result.rounds) > 1
    rows = []
    for comparison in scenario.comparisons:
        found = result.compared(comparison)
        if found is not None:
            sign = " ×" if comparison.other and not comparison.difference else ""
            levels = [_level(comparison, level, sign) for level in (comparison.must, comparison.aim)]
            cells = [title(comparison), ranged(found, several=several) + sign, *levels]
            rows.append(f"| {' | '.join([*cells, reached(comparison, found)])} |")
    if not rows:
        return []
    return ["| compared | is | must be | aim | reached |", "|---|---:|---:|---:|---|", *rows]


def reached(comparison: Comparison, found: Range) -> str:
    """Which of its levels."""
    levels = {"must": comparison.must, "aim": comparison.aim}
    asked = {name: level for name, level in levels.items() if level is not None}
    if not asked:
        return ""
    held = [
        name
        for name, level in asked.items()
        if (found.median <= level if comparison.most else found.median >= level)
    ]
    return " and ".join(held) or MISSED


def _level(comparison: Comparison, level: float | None, sign: str) -> str:
    return "" if level is None else f"{'≤' if comparison.most else '≥'} {level:,g}{sign}"


def title(comparison: Comparison) -> str:
    if comparison.other is None:
        return f"{comparison.one}: {comparison.figure.unit}"
    sign = "−" if comparison.difference else "/"
    return f"{comparison.one} {sign} {comparison.other}: {comparison.figure.unit}"


def section(scenario: Scenario, result: Result) -> list[str]:
    """All about a scenario. Each paragraph is one line."""
    lines = [f"## {scenario.name}", "", f"{scenario.title}.", "", *figures(scenario, result), ""]
    if rows := comparisons(scenario, result):
        lines += [*rows, ""]
    if scenario.note:
        lines += [scenario.note, ""]
    lines += [f"- Left out: {name}: {why}." for name, why in result.missing.items()]
    if result.missing:
        lines.append("")
    spreads = [result.of(name, scenario.figures[0]).spread for name in result.contenders]
    noise = f", the rounds of a contender up to {max(spreads):.0%} apart" if len(result.rounds) > 1 else ""
    count = len(result.rounds)
    rounds = f"{count} round{'s' * (count != 1)}"
    lines += [f"{rounds} of {result.seconds:g} s{noise}, {result.date}.", ""]
    return lines
