"""Bounds: what they may be, said where they are made."""

from typing import Any

import pytest

from django_hub import Bounds, HubConsumer, InvalidBound


def test_the_default_closes_who_has_a_megabyte_waiting() -> None:
    assert Bounds() == Bounds(max_queue_bytes=1024 * 1024, max_queue_messages=10_000, when_slow="close")


@pytest.mark.parametrize("name", ["max_queue_bytes", "max_queue_messages"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "10", None, True, float("nan")])
def test_a_bound_is_a_number_above_none(name: str, value: Any) -> None:
    with pytest.raises(InvalidBound, match=f"{name} is a whole number above 0; got"):
        Bounds(**{name: value})


@pytest.mark.parametrize("value", ["newest", "Close", "", None, ["close"]])
def test_a_policy_is_one_that_exists(value: Any) -> None:
    with pytest.raises(InvalidBound, match="when_slow is one of 'close', 'drop_oldest', 'latest'; got"):
        Bounds(when_slow=value)


def test_a_consumers_bounds_are_inherited() -> None:
    class Small(HubConsumer):
        max_queue_messages = 5

    class Newest(Small):
        when_slow = "latest"

    assert Newest._bounds == Bounds(max_queue_messages=5, when_slow="latest")
