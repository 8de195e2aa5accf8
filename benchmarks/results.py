"""What was measured: kept beside its tables, so that these can be written anew."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.generator import Measured
from benchmarks.scenario import Comparison, Figure


@dataclass(frozen=True, slots=True)
class Range:
    """One figure over all rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Range:
        return cls(statistics.median(figures), min(figures), max(figures))

    @property
    def spread(self) -> float:
        """How far the rounds are apart, as a share of the median."""
        return (self.most - self.least) / abs(self.median) if self.median else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A scenario's rounds, what each contender measured in each. ``missing``: who was left out, and why."""

    scenario: str
    date: str
    machine: str
    versions: str
    seconds: float
    rounds: Sequence[Mapping[str, Measured]]
    missing: Mapping[str, str]

    @property
    def contenders(self) -> Sequence[str]:
        return list(self.rounds[0])

    def has(self, figures: Sequence[Figure]) -> bool:
        """Whether they were measured: what an older version wrote may lack some."""
        return all(
            figure.key in each
            for measured in self.rounds
            for each in measured.values()
            for figure in figures
        )

    def of(self, contender: str, figure: Figure) -> Range:
        return Range.of([each[contender][figure.key] * figure.scale for each in self.rounds])

    def lost(self, contender: str) -> float:
        """Messages that did not arrive, and sockets that were closed."""
        return sum(
            each[contender].get("missing", 0) + each[contender].get("closed", 0) for each in self.rounds
        )

    def compared(self, comparison: Comparison) -> Range | None:
        """The two figures are always of one round. None: one of the two was not measured."""
        if any(
            name not in self.contenders for name in (comparison.one, comparison.other) if name is not None
        ):
            return None
        return Range.of([_compared(comparison, each) for each in self.rounds])

    def write(self, folder: Path) -> None:
        (folder / f"{self.scenario}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path, scenario: str) -> Result | None:
        file = folder / f"{scenario}.json"
        return cls(**json.loads(file.read_text())) if file.exists() else None


def _compared(comparison: Comparison, measured: Mapping[str, Measured]) -> float:
    key, scale = comparison.figure.key, comparison.figure.scale
    one = measured[comparison.one][key] * scale
    if comparison.other is None:
        return one
    other = measured[comparison.other][key] * scale
    if comparison.difference:
        return one - other
    return one / other if other else float("inf")
