"""Parcels: what relays send each other through the channel layer."""

import dataclasses
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hub.entries import Entry, Kind, Scope
from django_hub.filters import Where
from django_hub.jsontext import JsonText
from django_hub.messages import Close
from django_hub.parcels import PARCEL, pack, unpack

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FRAMES = (
    TEXT | TEXT.map(JsonText) | st.binary(max_size=20) | st.builds(Close, st.integers(1000, 4999), TEXT)
)
FILTERS = st.none() | st.builds(
    lambda key, value: Where(**{key: value}).filter(), TEXT, TEXT | st.integers(0, 9) | st.none()
)
ENTRIES = st.lists(
    st.builds(
        Entry,
        TEXT,
        FRAMES,
        st.sampled_from(Scope),
        st.lists(TEXT, max_size=3).map(tuple),
        TEXT,
        FILTERS,
        TEXT,
        st.integers(0, 2**43),
        st.integers(0, 2**43),
        st.sampled_from(Kind),
    ),
    max_size=5,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.binary(max_size=20),
    lambda values: st.lists(values, max_size=5) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=15,
)


@given(ENTRIES)
def test_entries_come_back(entries):
    assert unpack(pack(entries)) == entries


@given(ENTRIES)
def test_entries_come_back_through_a_serializer_that_has_tuples_or_no_tuples(entries):
    """JSON and msgpack make lists; the in-memory layer copies deeply."""
    message = pack(entries)
    message["entries"] = [tuple(entry) for entry in message["entries"]]
    assert unpack(message) == entries


@given(ENTRIES)
def test_a_parcel_is_flat(entries):
    """Only what no serializer of a layer can spoil: text keys, lists, text, bytes and plain numbers."""

    def leaves(value):
        if type(value) is list:
            return itertools.chain.from_iterable(map(leaves, value))
        return [value]

    message = pack(entries, "7")
    assert set(message) == {"type", "number", "entries"}
    assert message["type"] == PARCEL
    assert message["number"] == "7"
    assert {type(leaf) for leaf in leaves(message["entries"])} <= {str, bytes, int}


def test_no_entries_are_a_parcel_too():
    assert unpack(pack([])) == []


def test_an_entry_is_for_all_if_nothing_is_said():
    assert Entry("lobby", "hi") == Entry("lobby", "hi", Scope.ALL, (), "", None)


def test_an_entry_without_a_filter_has_no_field_for_it():
    entries = [Entry("lobby", "hi"), Entry("lobby", "hi", filter=Where(team="red").filter())]
    assert pack(entries)["entries"] == [GOOD, [*GOOD, '{"team":"red"}', 0, 0]]


def test_an_entry_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Entry("lobby", "hi").hub = "cellar"


GOOD = ["lobby", 0, [], "hi", "", "", 0]
NO_PARCELS = {
    "nothing": {},
    "another type": {"type": "hub.wake", "entries": [GOOD]},
    "no entries": {"type": PARCEL},
    "entries that are no list": {"type": PARCEL, "entries": 5},
    "an entry that is no list": {"type": PARCEL, "entries": [5]},
    "an entry too short": {"type": PARCEL, "entries": [GOOD[:4]]},
    "an entry too long": {"type": PARCEL, "entries": [[*GOOD, '{"team":"red"}', 0, 0, 1]]},
    "a filter that is a number": {"type": PARCEL, "entries": [[*GOOD, 1]]},
    "a filter that is a dict": {"type": PARCEL, "entries": [[*GOOD, {"team": "red"}]]},
    "a filter that is no JSON": {"type": PARCEL, "entries": [[*GOOD, "team"]]},
    "a filter that is no object": {"type": PARCEL, "entries": [[*GOOD, '["team"]']]},
    "a filter that says nothing": {"type": PARCEL, "entries": [[*GOOD, "{}"]]},
    "a filter nested without end": {"type": PARCEL, "entries": [[*GOOD, "[" * 100_000]]},
    "an unknown scope": {"type": PARCEL, "entries": [["lobby", 9, [], "hi", "", "", 0]]},
    "a scope that is text": {"type": PARCEL, "entries": [["lobby", "ALL", [], "hi", "", "", 0]]},
    "a scope that is a list": {"type": PARCEL, "entries": [["lobby", [], [], "hi", "", "", 0]]},
    "ids that are no list": {"type": PARCEL, "entries": [["lobby", 0, 5, "hi", "", "", 0]]},
    "a frame that is a number": {"type": PARCEL, "entries": [["lobby", 0, [], 5, "", "", 0]]},
    "a frame that is nothing": {"type": PARCEL, "entries": [["lobby", 0, [], None, "", "", 0]]},
    "a close without a reason": {"type": PARCEL, "entries": [["lobby", 0, [], [1000], "", "", 0]]},
    "a close of a text": {"type": PARCEL, "entries": [["lobby", 0, [], ["1000", "why"], "", "", 0]]},
    "a bad entry behind a good one": {"type": PARCEL, "entries": [GOOD, 5]},
}


@pytest.mark.parametrize("message", NO_PARCELS.values(), ids=NO_PARCELS)
def test_what_is_no_parcel_is_refused_as_a_whole(message):
    with pytest.raises((ValueError, TypeError, KeyError)):
        unpack(message)


@pytest.mark.parametrize(
    "entry",
    [
        [5, 0, [], "hi", "", "", 0],
        [["lobby"], 0, [], "hi", "", "", 0],
        ["lobby", 0, "abc", "hi", "", "", 0],
        ["lobby", 0, [[1]], "hi", "", "", 0],
        [*GOOD[:4], 5, "", 0],
        [*GOOD[:5], 5, 0],
        [*GOOD[:6], "1"],
        [*GOOD[:6], True],
        [*GOOD, "", "1", 0],
        [*GOOD, "", 0, 9],
    ],
    ids=[
        "a hub that is a number",
        "a hub that is a list",
        "ids that are a text",
        "ids that are lists",
        "a key that is a number",
        "an epoch that is a number",
        "a number that is a text",
        "a number that is true",
        "a request that is a text",
        "an unknown kind",
    ],
)
def test_an_entry_whose_names_are_no_text_is_refused(entry):
    """It would fail only in the fan-out, together with the good entries behind it."""
    with pytest.raises((ValueError, TypeError)):
        unpack({"type": PARCEL, "entries": [entry]})


@given(st.dictionaries(TEXT, ANYTHING) | ANYTHING.map(lambda value: {"type": PARCEL, "entries": value}))
def test_any_garbage_raises_one_of_three_errors_or_is_read(message):
    try:
        entries = unpack(message)
    except (ValueError, TypeError, KeyError):
        return
    assert all(isinstance(entry, Entry) for entry in entries)


@given(st.lists(st.lists(ANYTHING, min_size=7, max_size=8), max_size=3))
def test_entries_of_garbage_raise_one_of_three_errors_or_are_read(entries):
    try:
        read = unpack({"type": PARCEL, "entries": entries})
    except (ValueError, TypeError, KeyError):
        return
    assert len(read) == len(entries)


@pytest.mark.parametrize("frame", ["x" * 1000, b"x" * 1000, Close(4000, "x" * 1000)])
def test_the_size_of_an_entry_follows_its_frame(frame):
    assert 1000 <= Entry("lobby", frame).size < 1100


def test_the_size_of_an_entry_follows_its_ids():
    ids = tuple(f"{number:032x}" for number in range(100))
    assert Entry("lobby", "", Scope.ONLY, ids).size >= 3200


def test_the_size_of_an_entry_follows_long_ids_and_its_filter():
    assert Entry("lobby", "", Scope.CLIENTS, ("x" * 200,) * 10).size >= 2000
    assert Entry("lobby", "", filter=Where(team="x" * 1000).filter()).size >= 1000
