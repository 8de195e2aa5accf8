"""Members, and the meta that every process will see alike."""

import dataclasses
import datetime
import json

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from hypothesis import given
from hypothesis import strategies as st

from django_hub.exceptions import InvalidMessage
from django_hub.members import Member, plain_meta

SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
METAS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), SCALARS | st.lists(SCALARS))


def test_a_member_cannot_be_changed():
    member = Member(hub="lobby", client_id="ann", user_id="7", meta={}, process="p", connection="c", at=1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        member.client_id = "bob"


def test_no_meta_is_an_empty_dict():
    assert plain_meta(None) == {}


@given(METAS)
def test_meta_of_json_values_stays_what_it_is(meta):
    assert plain_meta(meta) == meta


def test_meta_is_a_copy_that_later_changes_do_not_reach():
    meta = {"rooms": ["a"]}
    plain = plain_meta(meta)
    meta["rooms"].append("b")
    assert plain == {"rooms": ["a"]}


def test_meta_is_seen_here_as_another_process_will_read_it():
    assert plain_meta({"point": (1, 2)}) == {"point": [1, 2]}
    day = datetime.date(2030, 1, 2)
    assert plain_meta({"since": day}, DjangoJSONEncoder) == {"since": "2030-01-02"}


@pytest.mark.parametrize(
    ("meta", "why"),
    [
        (["a"], r"meta is a dict of JSON values; got list"),
        ("name", r"meta is a dict of JSON values; got str"),
        ({1: "a"}, r"keys of a JSON object are text; got int"),
        ({"tags": {"a"}}, r"can't be sent as JSON"),
        ({"name": "\ud800"}, r"lone surrogate"),
    ],
)
def test_meta_that_is_no_json_object_is_refused(meta, why):
    with pytest.raises(InvalidMessage, match=why):
        plain_meta(meta)


def test_meta_has_at_most_64_kib_as_json():
    assert plain_meta({"a": "é" * 32764})
    with pytest.raises(
        InvalidMessage, match=r"as JSON, has at most 65,536 bytes; got 65,537. Keep there only"
    ):
        plain_meta({"a": "é" * 32764 + "a"})


def test_without_an_encoder_meta_may_hold_only_what_json_knows():
    assert json.JSONEncoder is plain_meta.__defaults__[0]
    with pytest.raises(InvalidMessage):
        plain_meta({"since": datetime.date(2030, 1, 2)})
