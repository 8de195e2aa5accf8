"""An answer that is due, and how long it took."""

from django_hub.hearing import Hearing
from tests.apps import Clock


def test_it_is_silent_from_the_first_question_on() -> None:
    clock = Clock()
    hearing = Hearing(clock)
    assert (hearing.silence, hearing.lag) == (0.0, None)
    hearing.ask()
    clock.now += 2
    hearing.ask()
    assert hearing.silence == 2
    clock.now += 1
    hearing.hear()
    assert hearing.silence == 0.0


def test_only_the_answer_itself_tells_how_long_it_took() -> None:
    """Where a channel is behind, something else comes all the time, and before it."""
    clock = Clock()
    hearing = Hearing(clock)
    first = hearing.ask()
    clock.now += 2
    hearing.hear()
    assert (hearing.silence, hearing.lag) == (0.0, None)
    second = hearing.ask()
    clock.now += 1
    hearing.hear(first)
    assert (hearing.silence, hearing.lag) == (0.0, 3)
    clock.now += 4
    hearing.hear(second)
    assert hearing.lag == 5


def test_what_was_not_sent_is_not_waited_for() -> None:
    clock = Clock()
    hearing = Hearing(clock)
    hearing.ask()
    hearing.excuse()
    clock.now += 2
    hearing.hear()
    assert (hearing.silence, hearing.lag) == (0.0, None)
