"""Envelopes: the frames of hub.v1."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hub import envelopes
from django_hub.entries import Entry
from django_hub.envelopes import Connect, NotSpoken, Ping, Said, data_of, read
from django_hub.messages import Close, JsonText

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=8,
)


@given(TEXT, st.integers(0, 9), st.integers(0, 9))
def test_a_text_is_a_json_string(text, seq, direct):
    frame = envelopes.message(text, seq=seq, direct=direct)
    numbers = {name: n for name, n in {"seq": seq, "direct": direct}.items() if n}
    assert json.loads(frame) == {**numbers, "data": text}
    assert data_of(frame) == text


@given(VALUES)
def test_json_is_the_value_itself(value):
    frame = envelopes.reply(3, JsonText(json.dumps(value)), direct=2)
    assert json.loads(frame) == {"type": "reply", "id": 3, "direct": 2, "data": value}


@given(st.binary(max_size=20))
def test_bytes_come_behind_a_line(data):
    frame = envelopes.message(data, seq=5)
    head, _, tail = frame.partition(b"\n")
    assert (json.loads(head), tail) == ({"seq": 5}, data)
    assert data_of(frame) == data


@pytest.mark.parametrize("frame", [envelopes.PONG, envelopes.ack(3), envelopes.resync("e", 3, "why")])
def test_what_is_no_message_has_no_data(frame):
    assert data_of(frame) is None


def test_a_close_has_none():
    with pytest.raises(TypeError, match="closing"):
        envelopes.of(Entry("lobby", Close(4000)))


@pytest.mark.parametrize(("code", "comes_back"), [(1000, False), (4410, False), (4008, True), (1012, True)])
def test_closing_tells_whether_to_come_back(code, comes_back):
    assert json.loads(envelopes.closing(Close(code, "why"))) == {
        "type": "closing",
        "code": code,
        "reason": "why",
        "reconnect": comes_back,
    }


def test_a_change_of_presence_has_its_number():
    change = envelopes.presence_change("joined", {"client": "ann"})
    assert json.loads(envelopes.presence(change, 7)) == {
        "type": "presence",
        "seq": 7,
        "event": "joined",
        "member": {"client": "ann"},
    }


@pytest.mark.parametrize(
    ("frame", "meant"),
    [
        ('{"type":"ping"}', Ping()),
        ('{"type":"connect"}', Connect()),
        (
            '{"type":"connect","token":"t","epoch":"e","seq":3,"direct":2}',
            Connect(token="t", epoch="e", seq=3, direct=2),
        ),
        ('{"type":"message","id":1,"data":"hi"}', Said(1, "hi", wants_reply=False)),
        ('{"id":1,"data":"hi"}', Said(1, "hi", wants_reply=False)),
        (b'{"id":3}\nhi', Said(3, b"hi", wants_reply=False)),
        ('{"id":1,"data":[1e308,-0.5,1E-400]}', Said(1, "[1e+308,-0.5,0.0]", wants_reply=False)),
        ('{"type":"request","id":2,"data":{"a":[1]}}', Said(2, '{"a":[1]}', wants_reply=True)),
        (b'{"type":"message","id":3}\n\x00\n\xff', Said(3, b"\x00\n\xff", wants_reply=False)),
    ],
)
def test_what_a_client_says(frame, meant):
    assert read(frame) == meant


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        ('{"type":"message","id":1,"data":NaN}', "not JSON"),
        ('{"type":"message","id":1,"data":[-Infinity]}', "not JSON"),
        ('{"type":"message","id":1,"data":1E400}', "not JSON"),
        ('{"type":"ping","unknown":NaN}', "not JSON"),
        (b'{"type":"message","id":1,"unknown":-1e999}\n', "not JSON"),
        ('\ufeff{"type":"ping"}', "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "a message without data"),
        ('{"type":null}', "unknown type None"),
        ('{"type":["x"]}', "unknown type"),
        ('{"type":"message","id":1}', "a message without data"),
        ('{"type":"message","data":1}', "id is a whole number from 1"),
        ('{"type":"message","id":true,"data":1}', "id is a whole number"),
        ('{"type":"message","id":8796093022208,"data":1}', "id is a whole number"),
        ('{"type":"connect","seq":-1}', "seq is a whole number from 0"),
        ('{"type":"connect","token":5}', "token is text"),
        ('{"type":"message","id":1,"data":"\\ud800"}', "a lone surrogate"),
    ],
)
def test_what_no_client_says(frame, why):
    with pytest.raises(NotSpoken, match=why):
        read(frame)


@given(st.text() | st.binary() | VALUES.map(json.dumps))
def test_garbage_is_not_spoken(frame):
    with pytest.raises(NotSpoken):
        read(frame)
