"""What the memory store remembers for a while: it is let go of by itself."""

from django_hub.stores.memory_marks import Marks


def test_what_is_over_is_let_go_of_when_others_come() -> None:
    marks = Marks()
    for number in range(100):
        marks.put(("ticket", str(number)), "a", until=10.0 + number, now=0.0)
    marks.put(("ticket", "new"), "a", until=500.0, now=60.0)
    assert len(marks) == 50
    assert marks.get(("ticket", "50"), 60.0) is None
    assert marks.get(("ticket", "51"), 60.0) == "a"


def test_what_was_set_anew_is_kept_to_its_new_end() -> None:
    marks = Marks()
    marks.put(("ban", "x"), "first", until=10.0, now=0.0)
    marks.put(("ban", "x"), "second", until=100.0, now=5.0)
    marks.put(("ban", "y"), "", until=30.0, now=20.0)
    assert marks.get(("ban", "x"), 20.0) == "second"
    assert marks.take(("ban", "x"), 20.0)
    marks.put(("ban", "z"), "", until=300.0, now=200.0)
    assert len(marks) == 1
