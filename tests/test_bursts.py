"""Refusals, counted and told once a burst."""

import logging

import pytest

from django_hub.bursts import Bursts


@pytest.fixture(autouse=True)
def everything(caplog):
    caplog.set_level(logging.WARNING)


def test_a_burst_is_two_lines(caplog):
    bursts = Bursts()
    for number in range(1000):
        bursts.add(4431, f"address {number % 3}", "too many", number / 100)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("address 0 is refused with 4431: too many.")
    bursts.look(19.9)
    assert len(caplog.messages) == 1
    bursts.look(20.1)
    bursts.look(40)
    assert caplog.messages[1:] == ["1000 were refused with 4431 in 10 s, of 3 users or addresses"]
    assert bursts.total == {4431: 1000}


def test_a_burst_of_one_is_one_line_and_the_next_is_a_new_one(caplog):
    bursts = Bursts()
    bursts.add(4430, "user 7", "too many", 1.0)
    bursts.add(4430, "user 7\nERROR", "too many", 100.0)
    assert [message.partition(" is")[0] for message in caplog.messages] == ["user 7", "user 7\\nERROR"]


def test_each_code_has_its_own_and_one_without_end_is_told_of_now_and_then(caplog):
    bursts = Bursts()
    for number in range(1300):
        bursts.add(4432, "a", "", number)
        if number % 2:
            bursts.add(4430, "b", "", number)
    assert len(caplog.messages) == 10
