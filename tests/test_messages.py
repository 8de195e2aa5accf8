"""Messages, and the frames they become."""

import collections
import dataclasses
import datetime
import decimal
import json
import types
import uuid

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from hypothesis import example, given
from hypothesis import strategies as st

from django_hub.exceptions import InvalidMessage
from django_hub.jsontext import JsonText
from django_hub.messages import MOST_BYTES, Close, Json, encode, encode_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda values: st.lists(values) | st.dictionaries(TEXT, values),
    max_leaves=20,
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda values: (
        st.lists(values)
        | st.tuples(values, values)
        | st.dictionaries(st.text() | st.integers() | st.none(), values)
        | values.map(Json)
    ),
    max_leaves=10,
)


@given(TEXT)
def test_text_is_its_own_frame(text):
    assert encode(text) == text


@given(st.binary())
def test_bytes_are_their_own_frame(data):
    assert encode(data) == data


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_other_bytes_become_bytes_of_their_own(kind):
    frame = encode(kind(b"abc"))
    assert frame == b"abc"
    assert type(frame) is bytes


@given(JSON_VALUES)
@example([])
@example({"a": {"b": [1, 2.5, None, True, "é🐙\u2028"]}})
@example(10**300)
def test_any_json_value_comes_back(value):
    frame = encode(Json(value))
    assert type(frame) is JsonText
    assert json.loads(frame) == value


@given(st.dictionaries(TEXT, JSON_VALUES, max_size=3))
def test_a_dict_needs_no_wrapping(value):
    assert encode(value) == encode(Json(value))
    assert json.loads(encode(value)) == value


def test_json_is_compact_and_not_escaped():
    assert encode({"a": [1, 2], "b": "é"}) == '{"a":[1,2],"b":"é"}'


def test_a_dict_of_another_class_is_sent():
    assert encode(collections.OrderedDict(a=1)) == '{"a":1}'
    assert encode(collections.defaultdict(list, a=[1])) == '{"a":[1]}'


@pytest.mark.parametrize("kind", [types.MappingProxyType, collections.UserDict])
def test_a_mapping_that_is_no_dict_is_sent_too(kind):
    """`Sendable` says Mapping."""
    assert encode(kind({"a": 1})) == '{"a":1}'
    assert encode({"inner": kind({"a": 1})}) == '{"inner":{"a":1}}'


def test_tuples_become_arrays():
    assert encode({"a": (1, (2, 3))}) == '{"a":[1,[2,3]]}'


def test_the_encoder_is_asked_for_what_json_does_not_know():
    at = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    number = uuid.UUID(int=1)
    message = {"at": at, "price": decimal.Decimal("1.10"), "ids": [number], "deep": {"at": at}}
    assert json.loads(encode(message, DjangoJSONEncoder)) == {
        "at": "2030-01-02T03:04:05Z",
        "price": "1.10",
        "ids": [str(number)],
        "deep": {"at": "2030-01-02T03:04:05Z"},
    }
    with pytest.raises(InvalidMessage, match="datetime"):
        encode({"at": at})


KEYS_REFUSED = {
    "int": 1,
    "float": 1.5,
    "bool": True,
    "None": None,
    "bytes": b"a",
    "tuple": (1, 2),
}


@pytest.mark.parametrize("key", KEYS_REFUSED.values(), ids=KEYS_REFUSED)
@pytest.mark.parametrize(
    "message",
    [
        lambda key: {key: "a"},
        lambda key: {"a": {key: "b"}},
        lambda key: {"a": [1, {key: "b"}]},
        lambda key: {"a": ({key: "b"},)},
        lambda key: Json([{key: "b"}]),
        lambda key: Json(({key: "b"},)),
    ],
    ids=["outer", "inner", "in a list", "in a tuple", "in a Json list", "in a Json tuple"],
)
def test_a_key_that_is_no_text_is_refused(key, message):
    with pytest.raises(InvalidMessage, match=r"keys of a JSON object are text; got .*Convert it with str"):
        encode(message(key), DjangoJSONEncoder)


NO_JSON = {
    "a set": {1},
    "an object": object(),
    "bytes": b"abc",
    "not a number": float("nan"),
    "infinity": float("-inf"),
    "a number of too many digits": 10**10_000,
}


@pytest.mark.parametrize("value", NO_JSON.values(), ids=NO_JSON)
def test_a_value_that_json_has_not_is_refused(value):
    with pytest.raises(InvalidMessage, match=r"The value can't be sent as JSON: ."):
        encode({"deep": [value]}, DjangoJSONEncoder)


def test_a_value_inside_itself_is_refused():
    loop = {}
    loop["loop"] = loop
    with pytest.raises(InvalidMessage, match="nested too deeply"):
        encode(loop)


def test_a_value_nested_too_deeply_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(InvalidMessage, match="nested too deeply"):
        encode(Json(deep))


@pytest.mark.parametrize(
    "message",
    ["ab\ud800", {"a": "\udfff"}, {"\ud800": 1}, Json("\ud800"), Json([["\ud800"]])],
    ids=["text", "value", "key", "Json", "nested"],
)
def test_a_lone_surrogate_is_refused(message):
    with pytest.raises(InvalidMessage, match="lone surrogate at "):
        encode(message)


NO_MESSAGE = {
    "None": None,
    "a number": 1,
    "a set": {"a"},
    "a date": datetime.date(2030, 1, 2),
    "an object": object(),
    "a class": Json,
}


@pytest.mark.parametrize("message", NO_MESSAGE.values(), ids=NO_MESSAGE)
def test_what_is_no_message_is_refused_and_the_error_says_what_is(message):
    with pytest.raises(InvalidMessage, match=r"A message is str .*; got "):
        encode(message)


@pytest.mark.parametrize("message", [[], ["a", "b"], ("a",)])
def test_a_list_is_refused_and_the_error_says_how_to_send_it(message):
    with pytest.raises(InvalidMessage, match=rf"of {len(message)}. Wrap it as Json"):
        encode(message)


LARGEST = {
    "text": "a" * MOST_BYTES,
    "text of long letters": "🐙" * (MOST_BYTES // 4),
    "bytes": bytes(MOST_BYTES),
    "a bytearray": bytearray(MOST_BYTES),
    "JSON": Json("a" * (MOST_BYTES - 2)),
    "a dict": {"a": "a" * (MOST_BYTES - 8)},
}


@pytest.mark.parametrize("message", LARGEST.values(), ids=LARGEST)
def test_a_message_has_at_most_16_mib(message):
    def longer():
        match message:
            case dict():
                return {"a": message["a"] + "a"}
            case Json():
                return Json(message.value + "a")
            case str():
                return message + "a"
        return message + b"a"

    encode(message)
    with pytest.raises(InvalidMessage, match=r"at most 16,777,216 bytes; got 16,777,217\. Put it where"):
        encode(longer())


def test_an_invalid_message_is_a_type_error():
    with pytest.raises(TypeError):
        encode(None)


@given(ANYTHING)
def test_whatever_is_given_becomes_a_frame_that_can_be_written_or_an_invalid_message(value):
    try:
        frame = encode(value, DjangoJSONEncoder)
    except InvalidMessage:
        return
    assert type(frame) is bytes or frame.encode() is not None


def test_encode_json_is_what_encode_uses():
    assert encode_json([1, "é"]) == '[1,"é"]'


def test_messages_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Json(1).value = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        Close().code = 1001


CODES = [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4000, 4409, 4999]


@pytest.mark.parametrize("code", CODES)
def test_a_close_is_its_own_frame(code):
    close = Close(code, "why")
    assert encode(close) is close


def test_a_close_is_1000_without_a_reason_if_nothing_is_said():
    assert Close() == Close(1000, "")


@pytest.mark.parametrize(
    "code", [0, -1, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, "1000", 1000.0, None]
)
def test_a_code_that_no_close_frame_may_carry_is_refused(code):
    with pytest.raises(InvalidMessage, match=r"close code is one of RFC 6455"):
        encode(Close(code))


def test_true_is_no_close_code():
    with pytest.raises(InvalidMessage, match="got True"):
        encode(Close(True))


@pytest.mark.parametrize("reason", ["a" * 123, "é" * 61, "🐙" * 30])
def test_a_reason_of_123_bytes_fits(reason):
    assert encode(Close(4000, reason)).reason == reason


@pytest.mark.parametrize("reason", ["a" * 124, "é" * 62, "🐙" * 31, b"bytes", None])
def test_a_reason_that_does_not_fit_is_refused(reason):
    with pytest.raises(InvalidMessage, match=r"reason is text of at most 123 bytes"):
        encode(Close(4000, reason))


def test_a_reason_with_a_lone_surrogate_is_refused():
    with pytest.raises(InvalidMessage, match="lone surrogate"):
        encode(Close(4000, "\ud800"))


@given(TEXT)
@example("🐙" * 31)
def test_a_shortened_close_can_always_be_sent_and_loses_no_more_than_it_must(reason):
    short = Close(4000, reason).shortened()
    assert encode(short).code == 4000
    assert reason.startswith(short.reason)
    following = reason[len(short.reason) : len(short.reason) + 1]
    assert not following or len((short.reason + following).encode()) > 123
