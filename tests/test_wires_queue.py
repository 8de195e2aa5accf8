"""What waits for one client: in its order, of each key the newest."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hub.wires.base import Outgoing
from django_hub.wires.queue import Latest, Queue


def texts(queue: Queue | Latest) -> list[str]:
    return [single.frames[0] for single in queue]


def filled(queue: Queue | Latest, *singles: tuple[str, str]) -> int:
    """How many were replaced."""
    return sum(queue.append(Outgoing(text, key=key)) for text, key in singles)


@pytest.mark.parametrize("kind", [Queue, Latest])
def test_all_that_has_no_key_waits_in_its_order(kind: Callable[[], Queue | Latest]) -> None:
    queue = kind()
    assert filled(queue, ("one", ""), ("two", ""), ("one", "")) == 0
    assert (texts(queue), len(queue), queue.size) == (["one", "two", "one"], 3, 9)
    assert queue.oldest() is queue.pop()
    assert (texts(queue), len(queue), queue.size) == (["two", "one"], 2, 6)


def test_without_being_asked_to_it_keeps_all_of_a_key() -> None:
    queue = Queue()
    assert filled(queue, ("1", "EUR"), ("2", "EUR")) == 0
    assert texts(queue) == ["1", "2"]


def test_the_newest_of_a_key_waits_in_the_place_of_the_newest() -> None:
    queue = Latest()
    assert filled(queue, ("1", "EUR"), ("hello", ""), ("20", "USD"), ("300", "EUR")) == 1
    assert (texts(queue), queue.size) == (["hello", "20", "300"], 10)


def test_a_key_that_is_a_number_is_no_place() -> None:
    queue = Latest()
    filled(queue, ("a", ""), ("b", "1"), ("c", "2"))
    assert texts(queue) == ["a", "b", "c"]


@given(st.lists(st.none() | st.tuples(st.text(max_size=3), st.sampled_from(["", "x", "y"]))))
def test_it_is_what_a_plain_list_would_be(steps: list[tuple[str, str] | None]) -> None:
    queue, plain = Latest(), list[tuple[str, str]]()
    for step in steps:
        if step is not None:
            older = [other for other in plain if step[1] and other[1] == step[1]]
            assert filled(queue, step) == len(older)
            plain = [other for other in plain if other not in older] + [step] if step[1] else [*plain, step]
        elif plain:
            assert queue.pop().frames[0] == plain.pop(0)[0]
        assert texts(queue) == [text for text, _ in plain]
        assert queue.size == sum(len(text.encode()) for text, _ in plain)
