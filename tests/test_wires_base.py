"""Frames on their way: what is made of them, once."""

import pytest

from django_hub.messages import Close
from django_hub.wires.base import Outgoing, Unfamiliar, require
from django_hub.wires.frames import to_bytes


@pytest.mark.parametrize(
    ("frames", "size"),
    [(("text",), 4), (("größe",), 7), ((b"12",), 2), ((Close(1000, "bye"),), 5), (("a", b"bc"), 3)],
)
def test_its_size_is_that_of_its_payload(frames, size):
    assert Outgoing(*frames).size == size


def test_several_are_their_frames_one_behind_the_other():
    assert Outgoing("a", b"b").framed == to_bytes("a") + to_bytes(b"b")


def test_what_was_made_is_kept():
    outgoing = Outgoing("a")
    assert outgoing.framed is outgoing.framed
    assert outgoing.asgi is outgoing.asgi


def test_each_of_several():
    outgoing = Outgoing("a", b"b")
    assert [one.frames for one in outgoing.each] == [("a",), (b"b",)]
    assert outgoing.each is outgoing.each
    (one,) = Outgoing("a").each
    assert one.frames == ("a",)


def test_joined_are_one_of_which_each_is_still_there():
    singles = [Outgoing("a"), Outgoing("b")]
    joined = Outgoing.joined(singles)
    assert joined.frames == ("a", "b")
    assert joined.each is singles
    assert Outgoing.joined(singles[:1]) is singles[0]


def test_only_a_close_is_one():
    assert Outgoing("a").close is None
    assert Outgoing(Close(4000)).close == Close(4000)


def test_what_is_missing_is_named():
    require("text", ("upper", "upper.__name__"))
    with pytest.raises(Unfamiliar, match=r"str\.upper\.nothing"):
        require("text", ("upper", "upper.nothing", "never"))


def test_what_is_not_gone_yet() -> None:
    outgoing = Outgoing("one", b"", "three")
    assert [len(one.framed) for one in outgoing.each] == [5, 2, 7]
    frames, payload = zip(*map(outgoing.rest, range(15)), strict=True)
    assert frames == (0, *[1] * 7, *[2] * 2, *[3] * 5)
    assert payload == (0, 1, 2, 3, 4, *[5] * 5, *[8] * 5)
    assert outgoing.rest(1_000) == (3, 8)  # others' are held too
