"""Waiting times between tries."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from django_hub.backoff import waits


@given(st.floats(0.001, 1), st.floats(1, 60))
def test_each_wait_is_below_a_bound_that_doubles_to_the_most(first, most):
    for tries, wait in enumerate(itertools.islice(waits(first, most), 20)):
        assert 0 <= wait <= min(first * 2**tries, most)


def test_waits_do_not_end():
    assert len(list(itertools.islice(waits(), 5000))) == 5000


def test_waits_reach_near_the_most():
    assert max(itertools.islice(waits(first=1, most=8), 3, 2000)) > 7


def test_two_callers_do_not_wait_alike():
    assert list(itertools.islice(waits(), 10)) != list(itertools.islice(waits(), 10))
