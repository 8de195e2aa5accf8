"""The model on the memory store: see `tests.model`."""

from __future__ import annotations

import pytest
from hypothesis import Phase, example, given, settings

from tests.model.plays import back, empty, kill, play, seeds, steps
from tests.model.world import Step

few = settings(max_examples=25, report_multiple_bugs=False, phases=[Phase.explicit, Phase.generate])
many = settings(max_examples=1000, report_multiple_bugs=False, phases=[Phase.explicit, Phase.generate])


@few
@given(seeds, steps())
def test_nobody_misses_anything_unawares(seed: int, happening: list[Step]) -> None:
    play(seed, happening)


@few
@given(seeds, steps(empty))
@example(0, [("come", 0, 0, True), ("wait", 0.1), ("empty",), ("say", 0, "message")])
def test_who_hears_of_a_store_that_lost_its_data(seed: int, happening: list[Step]) -> None:
    play(seed, happening)


@few
@given(seeds, steps(back))
def test_who_hears_of_a_store_that_was_put_back(seed: int, happening: list[Step]) -> None:
    play(seed, happening)


@few
@given(seeds, steps(kill))
def test_who_was_at_a_server_that_died_goes_on_at_another(seed: int, happening: list[Step]) -> None:
    play(seed, happening)


@pytest.mark.heavy
@pytest.mark.timeout(900)
@many
@given(seeds, steps(empty, back, kill, most=80))
def test_all_of_it(seed: int, happening: list[Step]) -> None:
    play(seed, happening)
