"""Entries, and what a log keeps of them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hub.entries import Entry, from_item, pack_frame, to_item, unpack_frame
from django_hub.messages import Close, JsonText
from tests.test_parcels import ENTRIES, FRAMES


@given(FRAMES)
def test_a_frame_comes_back_of_the_same_kind(frame):
    back = unpack_frame(pack_frame(frame))
    assert back == frame
    assert type(back) is type(frame)


@given(ENTRIES)
def test_an_item_is_all_of_an_entry_but_its_hub_and_number(entries):
    for entry in entries:
        back = from_item(entry.hub, entry.epoch, entry.seq, to_item(entry))
        assert back == entry
        assert type(back.frame) is type(entry.frame)


def test_most_items_are_little_more_than_their_frame():
    assert json.loads(to_item(Entry("lobby", "hi", epoch="e", seq=5))) == ["hi"]


@pytest.mark.parametrize(
    "item",
    ["", "5", "[]", "[5]", "{}", '["hi", 1]', '[["!", 0]]', '["hi", 9, [], "", "", 0, 0]', "[" * 100_000],
)
def test_what_is_no_item_is_refused(item):
    with pytest.raises(ValueError, match="Not what a log keeps"):
        from_item("lobby", "e", 1, item)


@given(st.text())
def test_any_text_is_refused_or_read(text):
    try:
        assert isinstance(from_item("lobby", "e", 1, text), Entry)
    except ValueError:
        return


def test_a_close_is_a_frame():
    assert pack_frame(Close(4000, "x")) == [4000, "x"]
    assert pack_frame(JsonText("{}")) == ["{}"]
