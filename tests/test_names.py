"""Names: what may name a hub or a client, and the group that stands for a hub."""

import uuid

import pytest
from channels.layers import BaseChannelLayer
from hypothesis import example, given
from hypothesis import strategies as st

from django_hub.exceptions import InvalidName
from django_hub.names import (
    MAX_LENGTH,
    group_name,
    new_client_id,
    require_client_id,
    require_hub_name,
    session_of,
)

# Any text of a legal length: no surrogates (they can't be written as UTF-8) and no NUL.
NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=MAX_LENGTH
)
# Those that are near Channels' own rule, where a mistake would show.
NEARLY_PLAIN = st.text("aZ9-_. \n٣é", min_size=1, max_size=100)

REFUSED = {
    "empty": "",
    "201 characters": "a" * 201,
    "201 characters of four bytes": "🐙" * 201,
    "a NUL": "a\0b",
    "a lone surrogate": "a\ud800b",
    "None": None,
    "a number": 7,
    "bytes": b"lobby",
    "a list": ["lobby"],
}


@pytest.mark.parametrize("name", REFUSED.values(), ids=REFUSED)
def test_a_hub_cannot_be_named_by(name):
    with pytest.raises(InvalidName, match=r"^A hub name "):
        require_hub_name(name)


@pytest.mark.parametrize("client_id", REFUSED.values(), ids=REFUSED)
def test_a_client_cannot_be_named_by(client_id):
    with pytest.raises(InvalidName, match=r"^A client id "):
        require_client_id(client_id)


def test_a_bad_name_is_a_value_error():
    with pytest.raises(ValueError, match="1 to 200 characters; got 0"):
        require_hub_name("")


def test_the_message_about_a_wrong_type_is_short():
    with pytest.raises(InvalidName) as caught:
        require_hub_name(["x" * 100_000])
    assert len(str(caught.value)) < 200


@given(NAMES)
@example("a")
@example("🐙" * 200)
@example("{tag}:*\n\t ")
@example("..")
def test_any_other_text_names_hubs_and_clients_and_comes_back_as_it_is(name):
    assert require_hub_name(name) is name
    assert require_client_id(name) is name


@given(st.text(max_size=210))
def test_every_text_is_taken_or_refused_with_an_invalid_name(name):
    try:
        require_hub_name(name)
    except InvalidName:
        assert not 1 <= len(name) <= 200 or "\0" in name or any("\ud800" <= c <= "\udfff" for c in name)


def test_a_new_client_id_is_a_random_uuid_in_hexadecimal():
    first, second = new_client_id(), new_client_id()
    assert first != second
    assert uuid.UUID(hex=first).version == 4
    assert first == uuid.UUID(hex=first).hex
    assert require_client_id(first) == first


@given(NAMES | NEARLY_PLAIN)
@example("a" * 95)
@example("a" * 96)
@example("🐙" * 200)
def test_every_hub_has_a_group_that_channels_takes(name):
    assert BaseChannelLayer().require_valid_group_name(group_name(name))


@given(NAMES | NEARLY_PLAIN, NAMES | NEARLY_PLAIN)
@example("lobby", "lobby\n")
@example("3", "٣")
def test_two_hubs_never_share_a_group(one, other):
    assert (group_name(one) == group_name(other)) == (one == other)


@pytest.mark.parametrize("name", ["lobby", "a-b_c.D9", "x" * 95])
def test_a_plain_name_can_be_read_in_its_group(name):
    assert group_name(name) == f"hub.{name}"


def test_no_name_is_the_digest_of_another():
    digest = group_name("é").removeprefix("hub-")
    assert group_name(digest) != group_name("é")
    assert group_name(f"-{digest}") != group_name("é")


@pytest.mark.parametrize(
    ("connection", "session"), [("0a1b2c", ""), ("abc.0a1b2c3d", "abc"), ("a.b.0a1b2c3d", "a.b"), ("", "")]
)
def test_the_session_of_a_connection(connection, session):
    assert session_of(connection) == session
