"""What was accepted and may not be handled yet."""

from django_hub.accepted import Accepted


def test_no_more_is_left_than_waits() -> None:
    accepted = Accepted()
    for hub in ("a", "a", "b", "b", "b", "c"):
        accepted.add(hub)
    # Others' events wait in a hub as well.
    accepted.settle(accepted.now(), {"a": 0, "b": 1, "c": 7})
    assert accepted.now() == {"b": 1, "c": 1}
    accepted.settle(accepted.now(), {})
    assert accepted.now() == {}


def test_what_came_after_the_look_is_not_settled_by_it() -> None:
    accepted = Accepted()
    accepted.add("a")
    looked = accepted.now()
    accepted.add("a")
    accepted.add("b")
    accepted.settle(looked, {})
    assert accepted.now() == {"a": 1, "b": 1}
