"""A scenario: contenders that are measured in turns, and what is compared of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.generator import Measured

Measure = Callable[[float], Awaitable[Measured]]
"""Measures once, for about so many seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """``missing`` says what it needs and this machine lacks. ``at``: its place on a growth's axis."""

    name: str
    measure: Measure
    missing: Callable[[], str] = lambda: ""
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """What is measured: its name in `Measured`, its unit in the tables, and the ``scale`` between them."""

    key: str
    unit: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One contender's figure beside another's: as a multiple of it, or less it where ``difference``.

    With no ``other`` it is the figure itself. ``must`` and ``aim`` are the levels: it is to be that at
    least or, where ``most``, at most.
    """

    one: str
    other: str | None = None
    figure: Figure
    difference: bool = False
    must: float | None = None
    aim: float | None = None
    most: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """``figures``: the first is drawn. ``note``: needed to read them. ``axis``: of a growth."""

    name: str
    title: str
    figures: Sequence[Figure]
    contenders: Sequence[Contender]
    comparisons: Sequence[Comparison] = field(default=())
    note: str = ""
    axis: str = ""
