"""Events, and their bodies in a mailbox."""

import dataclasses
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_hub.events import (
    Joined,
    Left,
    Lost,
    Message,
    Resumed,
    Updated,
    describe,
    joined_body,
    left_body,
    lost_body,
    message_body,
    read_beginning,
    read_body,
    read_description,
    resumed_body,
    updated_body,
)
from django_hub.exceptions import UnreadableEvent

TEXT = st.text()
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda values: st.lists(values) | st.dictionaries(TEXT, values),
    max_leaves=10,
)
METAS = st.dictionaries(TEXT, JSON_VALUES, max_size=4)
CLIENTS = st.tuples(TEXT, st.none() | TEXT, METAS, st.booleans())
TIMES = st.floats(min_value=0, max_value=1e12)
DATA = TEXT | st.binary()
REASONS = st.sampled_from(["close", "read", "write", "replaced", "kicked", "slow", "lost", "shutdown"])

WHO = describe("ann", "7", {"name": "Ann"})
ANN = {"hub": "lobby", "client_id": "ann", "user_id": "7", "meta": {"name": "Ann"}, "id": 5, "at": 1.5}


@given(CLIENTS)
def test_a_client_comes_back_from_its_description(client):
    assert read_description(describe(*client)) == client


@given(CLIENTS, TIMES)
def test_joined_comes_back_from_its_body(client, at):
    event = read_body("lobby", 5, joined_body(describe(*client), at))
    client_id, user_id, meta, presence = client
    assert event == Joined(
        hub="lobby", client_id=client_id, user_id=user_id, meta=meta, id=5, at=at, presence=presence
    )


@given(CLIENTS, TIMES, DATA)
@example(("ann", None, {}, False), 0.0, b"")
@example(("ann", None, {}, False), 0.0, "")
@example(("ann", None, {}, False), 0.0, '"],[')
@example(("ann", None, {}, False), 0.0, b"\x00\xff")
def test_message_comes_back_from_its_body(client, at, data):
    event = read_body("lobby", 5, message_body(describe(*client), at, data))
    client_id, user_id, meta, presence = client
    assert event == Message(
        hub="lobby",
        client_id=client_id,
        user_id=user_id,
        meta=meta,
        id=5,
        at=at,
        data=data,
        presence=presence,
    )
    assert type(event.data) is type(data)


@given(
    CLIENTS,
    TIMES,
    REASONS,
    st.none() | st.integers(1000, 4999),
    st.none() | TEXT,
    st.lists(DATA).map(tuple),
)
def test_left_comes_back_from_its_body(client, at, reason, code, error, undelivered):
    event = read_body("lobby", 5, left_body(describe(*client), at, reason, code, error, undelivered))
    client_id, user_id, meta, presence = client
    assert event == Left(
        hub="lobby",
        client_id=client_id,
        user_id=user_id,
        meta=meta,
        id=5,
        at=at,
        reason=reason,
        code=code,
        error=error,
        undelivered=undelivered,
        presence=presence,
    )


@given(CLIENTS, DATA, st.integers())
def test_a_request_comes_back_from_its_body(client, data, number):
    event = read_body("lobby", 5, message_body(describe(*client), 1.5, data, number))
    assert (event.data, event.request) == (data, number)
    assert read_body("lobby", 5, message_body(describe(*client), 1.5, data)).request is None


@given(CLIENTS, TIMES, REASONS, st.none() | st.integers(1000, 4999))
def test_lost_resumed_and_updated_come_back_from_their_bodies(client, at, reason, code):
    who = describe(*client)
    names = ("client_id", "user_id", "meta", "presence")
    common = {"hub": "lobby", "id": 5, "at": at, **dict(zip(names, client, strict=True))}
    lost = read_body("lobby", 5, lost_body(who, at, reason, code))
    assert lost == Lost(**common, reason=reason, code=code)
    assert read_body("lobby", 5, resumed_body(who, at)) == Resumed(**common)
    assert read_body("lobby", 5, updated_body(who, at)) == Updated(**common)


@pytest.mark.parametrize(
    "body",
    [
        f'["message",{WHO},1.5,"a",true]',
        f'["message",{WHO},1.5,"a","1"]',
        f'["lost",{WHO},1.5,"tired",null]',
        f'["lost",{WHO},1.5,"read","1006"]',
        f'["resumed",{WHO},1.5,1]',
        '["joined","ann",null,{},1.5]',
    ],
)
def test_a_body_with_fields_of_other_kinds_is_refused(body):
    with pytest.raises(UnreadableEvent):
        read_body("lobby", 5, body)


def test_a_left_that_a_store_writes_by_itself_says_only_why():
    assert read_body("lobby", 5, left_body(WHO, 1.5, "lost")) == Left(**ANN, reason="lost")


@given(CLIENTS, DATA)
def test_a_body_is_one_line_of_ascii(client, data):
    body = message_body(describe(*client), 1.5, data)
    assert body.isascii()
    assert "\n" not in body


def test_a_time_loses_nothing():
    at = 1_900_000_000.123_456_7
    assert read_body("lobby", 5, joined_body(WHO, at)).at == at


# Garbage

GARBAGE = {
    "nothing": "",
    "no JSON": "joined",
    "half a body": joined_body(WHO, 1.5)[:-1],
    "two bodies": joined_body(WHO, 1.5) * 2,
    "a number": "5",
    "null": "null",
    "a text of letters": '"joined"',
    "an empty array": "[]",
    "an array cut short": '["joined","ann","7",{}]',
    "an unknown kind": '["kicked","ann","7",{},1.5]',
    "a kind that is no text": '[null,"ann","7",{},1.5]',
    "joined with a rest": '["joined","ann","7",{},1.5,1]',
    "a message without data": '["message","ann","7",{},1.5]',
    "a message of a number": '["message","ann","7",{},1.5,5]',
    "a message of null": '["message","ann","7",{},1.5,null]',
    "a message of an object": '["message","ann","7",{},1.5,{}]',
    "a message of two parts": '["message","ann","7",{},1.5,["YQ==","YQ=="]]',
    "a message of no part": '["message","ann","7",{},1.5,[]]',
    "bytes that are no base64": '["message","ann","7",{},1.5,["?"]]',
    "bytes cut short": '["message","ann","7",{},1.5,["YQ"]]',
    "bytes that are not ASCII": '["message","ann","7",{},1.5,["é"]]',
    "left without a reason": '["left","ann","7",{},1.5]',
    "left with undelivered that is no list": '["left","ann","7",{},1.5,"close",null,null,"abc"]',
    "left with an undelivered number": '["left","ann","7",{},1.5,"close",null,null,[5]]',
    "nested too deeply": "[" * 100_000,
    "a number of too many digits": "[" + "9" * 10_000 + "]",
}
MISTYPED = {
    "an object": '{"joined":1,"a":2,"b":3,"c":4,"d":5}',
    "a client id that is a number": '["joined",1,"7",{},1.5]',
    "a client id that is null": '["joined",null,"7",{},1.5]',
    "a user id that is a number": '["joined","ann",7,{},1.5]',
    "a meta that is a list": '["joined","ann","7",[],1.5]',
    "a meta that is null": '["joined","ann","7",null,1.5]',
    "a time that is text": '["joined","ann","7",{},"now"]',
    "a time that is null": '["message","ann","7",{},null,"a"]',
    "an unknown reason": '["left","ann","7",{},1.5,"bored",null,null,[]]',
    "a reason that is a list": '["left","ann","7",{},1.5,[],null,null,[]]',
    "a code that is text": '["left","ann","7",{},1.5,"close","1000",null,[]]',
    "an error that is a number": '["left","ann","7",{},1.5,"read",null,5,[]]',
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_an_unreadable_event(body):
    with pytest.raises(UnreadableEvent, match=r"^Not an event's body") as caught:
        read_body("lobby", 5, body)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("body", MISTYPED.values(), ids=MISTYPED)
def test_a_body_of_the_right_shape_and_wrong_types_is_an_unreadable_event(body):
    """A handler may rely on the types that `Joined`, `Message` and `Left` declare."""
    with pytest.raises(UnreadableEvent, match=r"^Not an event's body"):
        read_body("lobby", 5, body)


@given(TEXT | JSON_VALUES.map(json.dumps))
def test_any_garbage_is_an_unreadable_event_and_nothing_else(body):
    with pytest.raises(UnreadableEvent):
        read_body("lobby", 5, body)


@given(
    st.sampled_from(["joined", "message", "left"]),
    st.lists(JSON_VALUES, max_size=9),
)
def test_what_only_looks_like_an_event_raises_nothing_else(kind, rest):
    try:
        event = read_body("lobby", 5, json.dumps([kind, *rest]))
    except UnreadableEvent:
        return
    assert isinstance(event, (Joined, Message, Left))


@given(st.data())
def test_a_body_damaged_anywhere_raises_nothing_else(data):
    body = left_body(WHO, 1.5, "write", 1006, "broken pipe", ("text", b"bytes"))
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, len(body)))
    damaged = body[:start] + data.draw(TEXT) + body[end:]
    try:
        event = read_body("lobby", 5, damaged)
    except UnreadableEvent:
        return
    assert event.hub == "lobby"
    assert event.id == 5


def test_an_unreadable_event_keeps_its_cause():
    with pytest.raises(UnreadableEvent) as caught:
        read_body("lobby", 5, "{")
    assert isinstance(caught.value.__cause__, json.JSONDecodeError)


# Message.json


@pytest.mark.parametrize("data", ['{"a":[1,"é"]}', '{"a":[1,"é"]}'.encode()])
def test_a_message_can_be_read_as_json(data):
    assert Message(**ANN, data=data).json() == {"a": [1, "é"]}


@pytest.mark.parametrize(
    "data",
    ["", "{", "hello", b"", b"\xff\xfe\xfd", b'"\xc3"', "[" * 100_000, "9" * 10_000],
    ids=["empty", "cut", "word", "no bytes", "no text", "invalid UTF-8", "too deep", "too many digits"],
)
def test_a_message_that_is_no_json_is_a_value_error(data):
    message = Message(**ANN, data=data)
    with pytest.raises(ValueError, match=r"."):
        message.json()


@given(DATA)
def test_whatever_a_client_sends_json_gives_a_value_or_a_value_error(data):
    message = Message(**ANN, data=data)
    try:
        message.json()
    except ValueError:
        return
    assert json.loads(data) is not ...


def test_events_cannot_be_changed():
    for event in (Joined(**ANN), Message(**ANN, data="a"), Left(**ANN, reason="close")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.at = 2.0


def test_a_left_says_nothing_that_was_not_given():
    left = Left(**ANN, reason="close")
    assert (left.code, left.error, left.undelivered) == (None, None, ())


def test_a_body_cut_anywhere_in_its_text_has_the_texts_beginning():
    said = 'é"\\\n🐙 and so on'
    body = message_body(WHO, 1.5, said)
    begins = body.index(",1.5,") + len(",1.5,")
    for end in range(begins + 1, len(body)):
        *values, text = read_beginning(body[:end])
        assert values == ["message", "ann", "7", {"name": "Ann"}, False, 1.5]
        assert said.startswith(text)
        text.encode()
    assert text == said


@pytest.mark.parametrize("body", ["", "[", "rubbish", '["message"', '["no","ann",', '{"message":"ann",'])
def test_what_is_no_beginning_of_a_body_is_refused(body):
    with pytest.raises(UnreadableEvent, match="beginning"):
        read_beginning(body)
