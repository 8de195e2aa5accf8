"""The token bucket: what passes, what waits, and who does not heed it."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hub.rates import Bucket

RATES = st.floats(min_value=0.01, max_value=10_000)
BURSTS = st.integers(min_value=1, max_value=50)
# Seconds between messages, in parts of what the rate allows for one.
PAUSES = st.lists(st.one_of(st.just(0.0), st.floats(min_value=0, max_value=20)), max_size=200)


def passed(bucket: Bucket, pauses: list[float]) -> list[float]:
    """When each message passes, of a client that waits so long before each and is not read meanwhile."""
    times = []
    now = 1_000.0
    for pause in pauses:
        now += pause
        now += bucket.take(now)
        times.append(now)
    return times


@given(rate=RATES, burst=BURSTS, pauses=PAUSES)
def test_never_more_than_burst_and_rate_pass_within_any_time(
    rate: float, burst: int, pauses: list[float]
) -> None:
    times = passed(Bucket(rate, burst), [pause / rate for pause in pauses])
    for first, start in enumerate(times):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + rate * (times[last] - start) + 1e-6 * rate


@given(rate=RATES, burst=BURSTS, pauses=st.lists(st.floats(min_value=1.001, max_value=20), max_size=200))
def test_a_client_below_the_rate_never_waits(rate: float, burst: int, pauses: list[float]) -> None:
    bucket = Bucket(rate, burst)
    now = 0.0
    for pause in pauses:
        now += pause / rate
        assert bucket.take(now) == 0
    assert not bucket.overdrawn


@given(rate=RATES, burst=BURSTS)
def test_a_burst_passes_at_once_and_the_next_waits_for_a_token(rate: float, burst: int) -> None:
    bucket = Bucket(rate, burst)
    assert [bucket.take(50.0) for _ in range(burst)] == [0.0] * burst
    assert bucket.take(50.0) == pytest.approx(1 / rate, rel=1e-6, abs=1e-9)
    assert bucket.take(50.0) == pytest.approx(2 / rate, rel=1e-6, abs=1e-9)


@given(rate=RATES, burst=st.integers(min_value=1, max_value=5), pauses=PAUSES)
def test_none_waits_longer_than_it_must(rate: float, burst: int, pauses: list[float]) -> None:
    """One that waits could not have passed a moment earlier."""
    bucket = Bucket(rate, burst)
    arrivals = list(accumulate(pause / rate for pause in pauses))
    times: list[float] = []
    for arrival in arrivals:
        now = max(arrival, times[-1] if times else 0.0)
        wait = bucket.take(now)
        times.append(now + wait)
        if wait > 1e-3 / rate:
            early = times[-1] - 1e-3 / rate
            assert any(
                len(times) - first > burst + rate * (early - start) for first, start in enumerate(times)
            )


@pytest.mark.parametrize(("rate", "burst", "sleeps"), [(100, 20, 0.0), (10_000, 1000, 0.002), (5, 1, 0.0)])
def test_who_goes_on_above_the_rate_is_overdrawn(rate: float, burst: int, sleeps: float) -> None:
    """Also where a clock lets it sleep longer than it had to, and several tokens come at once."""
    bucket = Bucket(rate, burst)
    now, count = 7.0, 0
    while not bucket.overdrawn:
        wait = bucket.take(now)
        now += wait + (sleeps if wait else 0)
        count += 1
        assert count < 100 * burst, "it was never overdrawn"
    assert count > 2 * burst


def test_who_was_held_back_and_pauses_starts_anew() -> None:
    bucket = Bucket(10, 10)
    now = 0.0
    for _ in range(20):
        # Ten at once and eight that wait, then a second in which five tokens come and more.
        for _ in range(18):
            now += bucket.take(now)
        assert not bucket.overdrawn
        now += 1.0
