"""A group loses its permission: how soon its sockets are closed."""

from __future__ import annotations

from benchmarks.generator import Measured
from benchmarks.inside import inside
from benchmarks.scenario import Comparison, Contender, Figure, Scenario

_SOCKETS = 10_000
_SECONDS = Figure("seconds", "s until the last is closed")
_CPU = Figure("cpu", "s of the process's CPU until then")
_QUERIES = Figure("queries", "queries")


async def _measure(seconds: float) -> Measured:  # noqa: ARG001 (it is done when it is)
    return await inside("rechecks", redis=True, sockets=_SOCKETS)


SCENARIOS = [
    Scenario(
        name="rechecks",
        title=f"{_SOCKETS:,} sockets, each of another user, whose group loses the permission",
        figures=(_SECONDS, _CPU, _QUERIES),
        contenders=(Contender(name="django_hub", measure=_measure),),
        comparisons=(
            Comparison(one="django_hub", figure=_SECONDS, must=2.0, most=True),
            Comparison(one="django_hub", figure=_QUERIES, must=1, most=True),
        ),
        note="From the commit, through Redis, to the close of the last socket. The users are in SQLite, in "
        "memory; the sockets are functions that answer to their close.",
    )
]
