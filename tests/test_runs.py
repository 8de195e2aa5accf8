"""Runs: what goes to the same clients together, and never past what it came behind."""

from hypothesis import given
from hypothesis import strategies as st

from django_hub.entries import Entry, Kind, Scope
from django_hub.messages import Close
from django_hub.runs import MOST_BYTES, runs


def shown(entries):
    return [[each.frame for each in run.entries] for run in runs(entries)]


def test_what_is_for_the_same_goes_together_over_the_hubs():
    entries = [
        Entry("a", "1"),
        Entry("b", "x"),
        Entry("a", "2"),
        Entry("a", "to ann", Scope.ONLY, ("ann",)),
    ]
    assert shown(entries) == [["1", "2"], ["x"], ["to ann"]]
    assert shown([]) == []


def test_a_run_has_so_many_bytes():
    half = "x" * (MOST_BYTES // 2)
    assert shown([Entry("a", half)] * 3) == [[half], [half], [half]]
    assert shown([Entry("a", half), Entry("a", "small")]) == [[half, "small"]]


def test_a_close_and_who_somebody_is_stand_alone():
    entries = [Entry("a", "1"), Entry("a", Close(4000)), Entry("a", "2")]
    assert shown(entries) == [["1"], [Close(4000)], ["2"]]
    entries = [Entry("a", "1"), Entry("a", "who", kind=Kind.WHO), Entry("a", "2")]
    assert shown(entries) == [["1"], ["who"], ["2"]]


def test_whether_any_has_a_number_is_known():
    (run,) = runs([Entry("a", "1"), Entry("a", "2", epoch="e", seq=1)])
    assert run.numbered
    (run,) = runs([Entry("a", "1")])
    assert not run.numbered


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from((Scope.ALL, Scope.ONLY)))))
def test_no_hub_sees_another_order(drawn):
    entries = [Entry(hub, str(at), scope) for at, (hub, scope) in enumerate(drawn)]
    found = runs(entries)
    for hub in "ab":
        came = [each for each in entries if each.hub == hub]
        assert [each for run in found for each in run.entries if each.hub == hub] == came
    for run in found:
        assert len({(each.hub, each.scope) for each in run.entries}) == 1
