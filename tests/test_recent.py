"""The recent part of a log: what is known of it without a gap."""

from hypothesis import given
from hypothesis import strategies as st

from django_hub import recent as module
from django_hub.entries import Entry, Kind
from django_hub.recent import Recent


def entry(seq, epoch="e", frame=""):
    return Entry("lobby", frame, epoch=epoch, seq=seq)


def hole(seq, epoch="e"):
    return Entry("lobby", "{}", epoch=epoch, seq=seq, kind=Kind.RESYNC)


def entries(first, last):
    return [entry(seq) for seq in range(first, last + 1)]


def read(last, kept):
    recent = Recent()
    recent.read("e", last, kept)
    return recent


def known(recent, seq, upto, epoch="e"):
    found = recent.between(epoch, seq, upto)
    return None if found is None else [each.seq for each in found]


def test_what_was_read():
    recent = read(5, entries(3, 5))
    assert known(recent, 2, 5) == [3, 4, 5]
    assert known(recent, 3, 4) == [4]
    assert known(recent, 5, 5) == []
    assert known(recent, 1, 5) is None
    assert known(recent, 5, 6) is None
    assert known(recent, 6, 5) is None
    assert known(recent, 3, 5, "another") is None


def test_what_passes_is_added_once():
    recent = read(2, entries(1, 2))
    recent.append([entry(2), entry(3), Entry("lobby", "no number")])
    recent.append([entry(3), entry(4)])
    assert known(recent, 0, 4) == [1, 2, 3, 4]


def test_what_passes_while_it_is_read_is_added_behind():
    recent = Recent()
    recent.append(entries(2, 4))
    assert known(recent, 1, 4) is None
    recent.read("e", 3, entries(1, 3))
    assert known(recent, 0, 4) == [1, 2, 3, 4]


def test_behind_a_hole_it_begins_anew():
    recent = read(2, entries(1, 2))
    recent.append([hole(4), entry(5)])
    assert known(recent, 2, 5) is None
    assert known(recent, 4, 5) == [5]
    recent.append([entry(8)])
    assert known(recent, 7, 8) == [8]
    recent.append([entry(2, "late"), hole(0, "new"), entry(1, "new")])
    assert known(recent, 7, 8) is None
    assert known(recent, 0, 1, "new") == [1]


def test_behind_what_could_not_be_read():
    recent = read(4, [entry(1), entry(3), entry(4)])
    assert known(recent, 1, 4) is None
    assert known(recent, 2, 4) == [3, 4]
    assert known(read(4, [entry(1)]), 4, 4) == []


def test_it_has_bounds():
    recent = read(0, [])
    recent.append(entries(1, module._ENTRIES + 5))
    assert known(recent, 4, 10) is None
    assert len(known(recent, 5, module._ENTRIES + 5)) == module._ENTRIES
    recent = read(0, [])
    recent.append([entry(seq, frame="x" * (module._BYTES // 2)) for seq in (1, 2, 3)])
    assert known(recent, 2, 3) == [3]
    assert known(recent, 1, 3) is None


def test_what_was_read_is_kept_whatever_its_size():
    most = 2 * module._ENTRIES
    recent = read(most, entries(1, most))
    assert len(known(recent, 0, most)) == most
    recent.append([entry(most + 1)])
    assert known(recent, 0, most + 1) is None
    assert len(known(recent, 1, most + 1)) == most


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_all_between_or_nothing(size, more, seq, upto):
    recent = read(size, entries(1, size))
    recent.append(entries(size + 1, size + more))
    found = known(recent, seq, upto)
    # Nothing is between where the one is above the other.
    assert found == (list(range(seq + 1, upto + 1)) if max(seq, upto) <= size + more else None)
