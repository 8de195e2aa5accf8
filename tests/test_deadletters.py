"""Letters that could not be handled."""

import time

import pytest

from django_hub.deadletters import dead_letter
from django_hub.stores.ops import Letter

LETTER = Letter(7, "ann", '["joined","ann",null,{},1.5]')


def test_a_dead_letter_is_the_letter_with_what_went_wrong():
    before = time.time()
    letter = dead_letter("lobby", LETTER, LookupError("no such room"))
    assert (letter.hub, letter.position, letter.body) == ("lobby", 7, LETTER.body)
    assert letter.error == "LookupError: no such room"
    assert before <= letter.at <= time.time()


def test_an_error_without_words_is_named():
    assert dead_letter("lobby", LETTER, TimeoutError()).error.startswith("TimeoutError")


class Mute(Exception):
    """An error of a handler that can't be printed."""

    def __str__(self):
        raise RuntimeError("no words")


def test_an_error_that_cannot_be_printed_becomes_a_dead_letter_too():
    """Or else the hub is put aside, and fails again with every ring: no event behind it is ever handled."""
    assert "Mute" in dead_letter("lobby", LETTER, Mute()).error


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_what_an_error_says_can_be_written_to_any_store(text):
    r"""A client can cause it: ``json.loads('"\\ud800"')`` is a lone surrogate, and handlers quote it."""
    assert dead_letter("lobby", LETTER, ValueError(text)).error.encode()
