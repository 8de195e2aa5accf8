"""Filters: which meta matches, as JSON and not Python compares."""

import copy
import dataclasses
import datetime
import inspect
import json
import pickle
import sys
from types import SimpleNamespace

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from hypothesis import given
from hypothesis import strategies as st

from django_hub.exceptions import InvalidMessage
from django_hub.filters import Filter, Where
from django_hub.members import plain_meta

# Few and alike, so that many are equal, and many only to Python.
LEAVES = st.sampled_from(
    [None, True, False, 0, 1, 1.0, 1.5, -0.0, 2**60, float(2**60), "", "1", "True", "x"]
)
VALUES = st.recursive(
    LEAVES,
    lambda values: (
        st.lists(values, max_size=2) | st.dictionaries(st.sampled_from("ab"), values, max_size=2)
    ),
    max_leaves=4,
)
KEYS = st.sampled_from(["team", "level", "self", "is-in", "Zürich 🦊"])
METAS = st.dictionaries(KEYS, VALUES, max_size=3)


def described(*metas):
    return [SimpleNamespace(meta=meta) for meta in metas]


def chosen(where, *metas, encoder=json.JSONEncoder):
    return [each.meta for each in where.filter(encoder).choose(described(*metas))]


def tagged(value):
    """The value with JSON's types beside it: two of these are equal as JSON's values are."""
    match value:
        case bool() | None | str():
            return (type(value), value)
        case int() | float():
            return ("number", value)
        case list():
            return ("array", [tagged(item) for item in value])
        case dict():
            return ("object", {key: tagged(item) for key, item in value.items()})


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=2), st.lists(METAS, max_size=8), st.randoms())
def test_those_with_all_of_it_match_in_their_order(equals, metas, rng):
    # Some that match for sure: by chance hardly any would.
    metas += [{**meta, **copy.deepcopy(equals)} for meta in metas]
    rng.shuffle(metas)
    some = described(*metas)
    wanted = tagged(equals)[1].items()
    expected = [each for each in some if wanted <= Unhashed(tagged(each.meta)[1])]
    assert Where(**equals).filter().choose(iter(some)) == expected


class Unhashed(dict):
    """`items() <= items()` for values that have no hash."""

    def __ge__(self, items):
        return all(key in self and self[key] == value for key, value in items)


@pytest.mark.parametrize(
    ("value", "same", "others"),
    [
        (1, [1, 1.0], [True, "1", 2, None, [1], {}]),
        (1.0, [1, 1.0], [True, "1"]),
        (0, [0, -0.0], [False, "", None, []]),
        (True, [True], [1, 1.0, "True", False, None]),
        (False, [False], [0, 0.0, "", None, []]),
        (None, [None], [False, 0, "", "null", []]),
        ("1", ["1"], [1, True]),
        ([1, 2], [[1, 2], [1.0, 2]], [[2, 1], [1], [1, 2, 3], [True, 2], 1, {"0": 1}]),
        ((1, (2,)), [[1, [2]]], [[1, 2], [1, [True]]]),
        ([[1], 2], [[[1], 2]], [[[1]], [[1], 2, 3], [[1, 1], 2], [[True], 2], "x", {}]),
        ([], [[]], [{}, None, "", [None]]),
        ({"a": 1}, [{"a": 1}], [{"a": True}, {"a": 1, "b": 2}, {}, {"b": 1}, [1]]),
        ({"a": [{"b": True}]}, [{"a": [{"b": True}]}], [{"a": [{"b": 1}]}, {"a": [{}]}]),
    ],
    ids=repr,
)
def test_equal_is_what_is_equal_in_json(value, same, others):
    metas = [{"key": each} for each in (*same, *others)]
    assert list(map(tagged, chosen(Where(key=value), *metas))) == [tagged({"key": each}) for each in same]


@pytest.mark.parametrize("value", [None, True, False, 0, 1, "", "x", [], [[]], {}], ids=repr)
def test_who_lacks_a_key_does_not_match(value):
    assert chosen(Where(team=value), {}, {"Team": value}, {"other": value}) == []
    assert chosen(Where(team=value, level=1), {"team": value}, {"level": 1}) == []


def test_other_keys_do_not_matter():
    meta = {"team": "red", "level": 3, "name": "ann"}
    assert chosen(Where(level=3, team="red"), meta, {"team": "red", "level": 4}) == [meta]


def test_any_text_is_a_key():
    meta = {"self": 1, "is-in": 2, "": 3}
    assert chosen(Where(**meta), meta, {"self": 1}) == [meta]


def test_values_go_through_json_as_meta_does():
    meta = {"born": datetime.date(2000, 1, 2), "point": (1, 2)}
    plain = plain_meta(meta, DjangoJSONEncoder)
    assert chosen(Where(**meta), plain, encoder=DjangoJSONEncoder) == [plain]


@pytest.mark.parametrize(
    "value",
    [{1, 2}, object(), float("nan"), {1: "a"}, "\ud800", datetime.date(2000, 1, 2)],
    ids=["set", "object", "NaN", "int key", "surrogate", "date"],
)
def test_what_is_no_json_is_refused(value):
    with pytest.raises(InvalidMessage):
        Where(key=value).filter()


def test_a_key_that_is_no_text_for_others_is_refused():
    with pytest.raises(InvalidMessage, match="lone surrogate"):
        Where(**{"\ud800": 1}).filter()


def test_where_nothing_is_said_the_error_says_what_to_write():
    with pytest.raises(TypeError, match=r'Where\(team="red"\), or leave the condition out'):
        Where()


def test_a_where_is_a_value():
    where = Where(team="red", level=3)
    assert repr(where) == "Where(team='red', level=3)"
    assert where == Where(level=3, team="red") != Where(team="red")
    assert pickle.loads(pickle.dumps(where)) == where == copy.copy(where)
    with pytest.raises(dataclasses.FrozenInstanceError):
        where.equals = {}


def test_deeply_nested_values_are_compared_without_recursion():
    deep = "leaf"
    for _ in range(150):
        deep = [{"a": deep}]
    where = Where(key=deep).filter()
    same, other = described({"key": copy.deepcopy(deep)}, {"key": [{"a": "leaf"}]})

    def from_far_down(frames):
        return from_far_down(frames - 1) if frames else where.choose([same, other])

    assert from_far_down(sys.getrecursionlimit() - len(inspect.stack()) - 100) == [same]


# On its way


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=3), st.lists(METAS, max_size=5))
def test_a_filter_comes_back_from_its_text(equals, metas):
    here = Where(**equals).filter()
    there = Filter(here.text)
    assert there == here
    assert hash(there) == hash(here)
    metas.append(equals)
    assert [each.meta for each in there.choose(described(*metas))] == chosen(Where(**equals), *metas)


def test_filters_of_other_texts_are_others():
    """Also where Python has them for equal: what is for one is not for the other."""
    filters = [Where(key=value).filter() for value in (1, True, "1")]
    assert len(set(filters)) == 3
    assert filters[0] != filters[1]
    assert filters[0] != '{"key":1}'


def test_it_shows_its_text():
    assert repr(Where(team="red").filter()) == """Filter('{"team":"red"}')"""


@pytest.mark.parametrize(
    "text", ["", "x", "{", "{}", "[]", '["team"]', "1", "null", '"team"', "[" * 100_000], ids="{:.9}".format
)
def test_what_is_no_filter_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 (JSON's own, or ours)
        Filter(text)
