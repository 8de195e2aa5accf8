"""The plots: bars for contenders, lines for growth."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Result
from benchmarks.scenario import Scenario

Found = Mapping[str, tuple[Scenario, Result]]

# Colours that those who see fewer of them tell apart, too (after Okabe and Ito).
_OURS, _BARE, _STOCK, _PEER = "#0072b2", "#999999", "#d55e00", "#56b4a0"
_INK, _FAINT = "#222222", "#dddddd"
_COSTS = {
    "round_cpu_us": ("the server that sends", _OURS),
    "all_round_cpu_us": ("all servers together", _STOCK),
}
_LOOK: Any = {
    "font.size": 11,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": "#888888",
    "xtick.color": _INK,
    "ytick.color": _INK,
    "savefig.facecolor": "white",
}


def draw(folder: Path, found: Found) -> dict[str, Path]:
    """Title and file of each plot for which there are figures; none without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        return {}
    plots: Sequence[tuple[str, str, Sequence[str], Callable[[Any, Scenario, Result], None]]] = (
        ("A broadcast to 1,000 clients", "fan-out", ("fan-out-1", "fan-out-16"), _bars),
        ("Memory of an idle connection", "idle-memory", ("idle-memory",), _bars),
        (
            "What a broadcast costs the server",
            "growth",
            ("growth-members", "growth-hubs", "growth-elsewhere", "growth-processes"),
            _line,
        ),
    )
    drawn = {}
    for title, name, scenarios, panel in plots:
        if panels := [found[each] for each in scenarios if each in found]:
            drawn[title] = folder / f"{name}.png"
            _figure(drawn[title], title, panels, panel)
    return drawn


def _figure(
    file: Path,
    title: str,
    panels: Sequence[tuple[Scenario, Result]],
    draw_panel: Callable[[Any, Scenario, Result], None],
) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = 1 if draw_panel is _bars else min(2, len(panels))
    rows = -(-len(panels) // columns)
    heights = [_height(result) if draw_panel is _bars else 3.2 for _, result in panels[::columns]]
    with pyplot.rc_context(_LOOK):
        figure, axes = pyplot.subplots(
            rows,
            columns,
            figsize=(9, sum(heights) + 0.5),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        for axis in axes.flat[len(panels) :]:
            axis.remove()
        for axis, (scenario, result) in zip(axes.flat, panels, strict=False):
            draw_panel(axis, scenario, result)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
            axis.set_axisbelow(True)
        figure.suptitle(title, fontsize=14, fontweight="bold", x=0.01, ha="left")
        figure.savefig(file, dpi=110, metadata={"Software": None})
        pyplot.close(figure)


def _height(result: Result) -> float:
    return 0.9 + 0.34 * len(result.contenders)


def _bars(axis: Any, scenario: Scenario, result: Result) -> None:
    figure = scenario.figures[0]
    names = sorted(result.contenders, key=lambda name: result.of(name, figure).median)
    found = [result.of(name, figure) for name in names]
    medians = [each.median for each in found]
    whiskers = [
        [each.median - each.least for each in found],
        [each.most - each.median for each in found],
    ]
    axis.barh(
        names,
        medians,
        xerr=whiskers,
        color=[_colour(name) for name in names],
        ecolor=_INK,
        capsize=3,
        height=0.7,
        error_kw={"elinewidth": 1},
    )
    room = max(each.most for each in found)
    for place, each in enumerate(found):
        axis.text(each.most + room * 0.012, place, _short(each.median), va="center", fontsize=10)
    axis.set_xlim(0, room * 1.12)
    axis.set_title(_panel_title(scenario), fontsize=11, loc="left")
    axis.set_xlabel(figure.unit)
    axis.xaxis.set_major_formatter(lambda value, _: _short(value))
    axis.grid(axis="x", color=_FAINT)
    axis.tick_params(axis="y", length=0)


def _line(axis: Any, scenario: Scenario, result: Result) -> None:
    places = {each.name: each.at for each in scenario.contenders if each.at is not None}
    at = [places[name] for name in result.contenders]
    figures = [figure for figure in scenario.figures if figure.key in _COSTS]
    most = 0.0
    for figure in figures:
        label, colour = _COSTS[figure.key]
        found = [result.of(name, figure) for name in result.contenders]
        most = max(most, *(each.most for each in found))
        lows, highs = [each.least for each in found], [each.most for each in found]
        axis.fill_between(at, lows, highs, color=colour, alpha=0.2, lw=0)
        medians = [each.median for each in found]
        axis.plot(at, medians, color=colour, marker="o", markersize=5, lw=1.8, label=label)
    axis.set_xlabel(scenario.axis)
    axis.set_ylabel("µs of CPU a broadcast")
    if scenario.name == "growth-processes":
        axis.set_xticks(at)
    else:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(lambda value, _: _short(value))
    if scenario.name == "growth-members":
        # What a broadcast costs whoever hears it is how far the other line is above this one.
        axis.plot(
            at, [medians[-1] * each / at[-1] for each in at], color="#888888", ls="--", lw=1, label="linear"
        )
        axis.set_yscale("log")
    else:
        # From zero: constant is to look constant.
        axis.set_ylim(0, most * 1.3)
    axis.yaxis.set_major_formatter(lambda value, _: _short(value))
    if len(axis.lines) > 1:
        axis.legend(frameon=False, loc="upper left")
    axis.grid(color=_FAINT)


def _panel_title(scenario: Scenario) -> str:
    burst = {"fan-out-1": "one at a time", "fan-out-16": "16 waiting"}
    return burst.get(scenario.name, "")


def _colour(name: str) -> str:
    if name.startswith("django_hub"):
        return _OURS
    if name.startswith("bare"):
        return _BARE
    return _STOCK if name.startswith("stock") else _PEER


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"
