"""Sequences: numbers in whatever order become one order, in which every hole is told."""

from hypothesis import given
from hypothesis import strategies as st

from django_hub.entries import Entry, Kind
from django_hub.sequences import Sequence

OLD, NEW = "old", "new"


def entry(seq, epoch=OLD):
    return Entry("lobby", f"{epoch} {seq}", epoch=epoch, seq=seq)


def plain(text):
    return Entry("lobby", text)


def shown(entries):
    """Numbers, texts of what has none, and holes as the number they reach to, below zero."""
    return [
        -each.seq if each.kind is Kind.RESYNC else each.seq if each.epoch else each.frame
        for each in entries
    ]


def taken(sequence, *seqs):
    return [shown(sequence.take(entry(seq))) for seq in seqs]


def test_what_comes_before_it_begins_waits():
    sequence = Sequence("lobby")
    assert sequence.is_settled
    for early in (entry(8), entry(9, NEW), entry(7), entry(6, NEW)):
        assert not sequence.passes(early)
        sequence.hold(early)
    assert not sequence.is_settled
    assert (len(sequence), sequence.first_held) == (4, (NEW, 6))
    assert shown(sequence.begin(OLD, 6)) == [8, 9, 7, 6]
    assert sequence.is_settled
    assert len(sequence) == 0
    assert taken(sequence, 7, 8) == [[7], [8]]


def test_what_is_next_passes_where_nothing_waits():
    sequence = Sequence("lobby", OLD, 3)
    assert sequence.passes(entry(4))
    assert not sequence.passes(entry(4))
    assert not sequence.passes(entry(6))
    assert not sequence.passes(entry(5, NEW))
    assert taken(sequence, 6) == [[]]
    assert not sequence.passes(entry(5))
    assert taken(sequence, 5) == [[5, 6]]


def test_what_comes_early_waits():
    sequence = Sequence("lobby", OLD, 0)
    assert taken(sequence, 3, 2) == [[], []]
    assert not sequence.is_settled
    assert sequence.holds
    assert (len(sequence), sequence.first) == (2, 2)
    assert taken(sequence, 1) == [[1, 2, 3]]
    assert sequence.is_settled


def test_a_repeat_is_dropped_and_makes_it_ask():
    sequence = Sequence("lobby", OLD, 5)
    assert taken(sequence, 5) == [[]]
    assert sequence.doubtful
    assert not sequence.holds
    assert sequence.fill(OLD, 5, []) == []
    assert sequence.is_settled


def test_without_a_number_behind_what_waits():
    sequence = Sequence("lobby", OLD, 0)
    sequence.take(entry(2))
    sequence.wait_behind(plain("close"))
    sequence.take(entry(3))
    assert taken(sequence, 1) == [[1, 2, "close", 3]]


def test_what_is_kept_fills_it():
    sequence = Sequence("lobby", OLD, 0)
    taken(sequence, 3, 6)
    assert shown(sequence.fill(OLD, 4, [entry(1), entry(2), entry(3), entry(4)])) == [1, 2, 3, 4]
    assert taken(sequence, 5) == [[5, 6]]


def test_what_is_not_kept_is_a_hole():
    sequence = Sequence("lobby", OLD, 0)
    taken(sequence, 3)
    assert shown(sequence.fill(OLD, 5, [entry(4)])) == [-2, 3, 4, -5]
    assert taken(sequence, 6) == [[6]]


def test_a_new_log_is_behind_a_hole_and_what_came_of_it_is_not_lost():
    sequence = Sequence("lobby", OLD, 9)
    assert shown(sequence.take(entry(1, NEW))) == []
    assert shown(sequence.take(entry(3, NEW))) == []
    ready = sequence.fill(NEW, 2, [entry(2, NEW)])
    assert shown(ready) == [0, 1, 2, 3]
    assert ready[0].kind is Kind.RESYNC
    assert {each.epoch for each in ready} == {NEW}
    assert sequence.is_settled


def test_of_a_log_that_is_no_more_what_waits_is_given_too():
    sequence = Sequence("lobby", OLD, 1)
    taken(sequence, 3)
    sequence.wait_behind(plain("close"))
    ready = sequence.fill(NEW, 0, [])
    assert shown(ready) == [-2, 3, "close", 0]
    assert (ready[-1].epoch, ready[-1].kind) == (NEW, Kind.RESYNC)


def test_what_comes_late_of_an_old_log_is_dropped():
    sequence = Sequence("lobby", NEW, 4)
    sequence.take(entry(9, OLD))
    assert sequence.fill(NEW, 4, []) == []
    assert sequence.is_settled


def test_giving_up_goes_on_with_what_has_come():
    sequence = Sequence("lobby", OLD, 0)
    taken(sequence, 2, 5)
    assert shown(sequence.give_up()) == [-1, 2, -4, 5]
    sequence.take(entry(2, NEW))
    assert shown(sequence.give_up()) == [-1, 2]
    assert (sequence.epoch, sequence.at) == (NEW, 2)
    sequence.take(entry(2, NEW))
    assert sequence.give_up() == []
    assert sequence.is_settled


def test_of_another_log_not_all_is_held():
    sequence = Sequence("lobby", OLD, 0)
    for seq in range(1, 1500):
        sequence.take(entry(seq, NEW))
    assert len(shown(sequence.give_up())) == 1001


def test_skipping_what_was_seen_to_elsewhere():
    sequence = Sequence("lobby", OLD, 0)
    taken(sequence, 3, 5, 6)
    assert shown(sequence.skip_to(4)) == [5, 6]
    assert sequence.skip_to(2) == []
    assert sequence.at == 6


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.permutations(range(1, n + 1)), st.data())))
def test_whatever_comes_out_goes_one_way_and_its_holes_are_told(drawn):
    """They come in any order, some twice, some never; the log is asked now and then, and keeps a part."""
    order, data = drawn
    most = len(order)
    lost = data.draw(st.sets(st.integers(1, most)))
    comes = [seq for seq in order if seq not in lost]
    comes += data.draw(st.lists(st.sampled_from(order), max_size=5))
    kept_from = data.draw(st.integers(1, most + 1))
    sequence = Sequence("lobby", OLD, 0)
    out, highest = [], 0
    for seq in comes:
        highest = max(highest, seq)
        out += sequence.take(entry(seq))
        if data.draw(st.booleans()):
            out += sequence.fill(OLD, highest, [entry(n) for n in range(kept_from, highest + 1)])
    out += sequence.fill(OLD, most, [entry(n) for n in range(kept_from, most + 1)])
    assert sequence.is_settled
    at = 0
    for each in out:
        if each.kind is Kind.RESYNC:
            assert each.seq > at
        else:
            assert each.seq == at + 1
        at = each.seq
    assert at == most
    numbers = {each.seq for each in out if each.kind is Kind.MESSAGE}
    assert numbers >= set(range(kept_from, most + 1)) - set(range(1, kept_from))


def waiting(sequence):
    return sum(each.size for entries in (*sequence._early.values(), sequence._foreign) for each in entries)


@given(
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from((OLD, OLD, OLD, NEW))), max_size=30), st.data()
)
def test_the_bytes_that_wait_are_known(comes, data):
    """However often they come."""
    sequence = Sequence("lobby", OLD, 0)
    for seq, epoch in comes:
        sequence.take(entry(seq, epoch))
        match data.draw(st.sampled_from(("take", "take", "behind", "skip", "fill"))):
            case "behind" if sequence._early:
                sequence.wait_behind(plain("behind"))
            case "skip":
                sequence.skip_to(data.draw(st.integers(0, 12)))
            case "fill":
                sequence.fill(data.draw(st.sampled_from((OLD, NEW))), data.draw(st.integers(0, 12)), ())
        assert sequence.size == waiting(sequence)
    sequence = Sequence("lobby")
    sequence.hold(entry(1))
    assert sequence.size == waiting(sequence) > 0
    sequence.begin(OLD, 0)
    assert sequence.size == 0


@given(st.permutations(range(1, 20)))
def test_where_nothing_is_lost_nothing_is_missing(order):
    sequence = Sequence("lobby", OLD, 0)
    out = [each.seq for seq in order for each in sequence.take(entry(seq))]
    assert out == sorted(order)
    assert sequence.is_settled
