"""Session tokens: for one hub, one client, one login."""

import types

import pytest
from django.contrib.auth.models import AnonymousUser

from django_hub import closes
from django_hub.exceptions import Refused
from django_hub.tokens import make_token, read_token, session_of_nonce


class User:
    is_authenticated = True

    def __init__(self, pk, password="secret"):
        self.pk = pk
        self.password = password

    def get_session_auth_hash(self):
        return f"hash of {self.password}"


def scope(user=None, key="s1"):
    return {"user": user, "session": types.SimpleNamespace(session_key=key)}


ANNA = scope(User(1))


@pytest.mark.parametrize("of", [{}, scope(), scope(AnonymousUser()), ANNA])
def test_a_token_brings_back_whose_it_is(of):
    token = make_token("garden", "anna", "abc", of)
    assert read_token(token, "garden", of) == ("anna", "abc")


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({}, id="logged out, without middleware"),
        pytest.param(scope(AnonymousUser()), id="logged out"),
        pytest.param(scope(User(2)), id="another user"),
        pytest.param(scope(User(1), "s2"), id="logged in anew"),
        pytest.param(scope(User(1, "new")), id="another password"),
    ],
)
def test_a_token_is_good_for_its_login_only(other):
    with pytest.raises(Refused) as refused:
        read_token(make_token("garden", "anna", "abc", ANNA), "garden", other)
    assert refused.value.code == closes.BAD_TOKEN


def test_a_token_of_nobody_is_no_token_of_somebody():
    with pytest.raises(Refused):
        read_token(make_token("garden", "anna", "abc", scope()), "garden", ANNA)


def test_a_token_is_good_for_its_hub_only():
    with pytest.raises(Refused):
        read_token(make_token("garden", "anna", "abc", ANNA), "kitchen", ANNA)


@pytest.mark.parametrize("forged", ["", "a", "a:b:c", "\ud800", "é", "x" * 100_000])
def test_what_is_no_token_is_refused(forged):
    with pytest.raises(Refused):
        read_token(forged, "garden", ANNA)


def test_a_token_of_another_key_is_refused(settings):
    token = make_token("garden", "anna", "abc", ANNA)
    settings.SECRET_KEY = "another"
    with pytest.raises(Refused):
        read_token(token, "garden", ANNA)


def test_a_nonce_is_one_session_of_one_client_hub_and_login(settings):
    mine = session_of_nonce("a nonce", "garden", "anna", ANNA)
    assert mine == session_of_nonce("a nonce", "garden", "anna", ANNA)
    assert len(mine) == 32
    others = [
        session_of_nonce("another", "garden", "anna", ANNA),
        session_of_nonce("a nonce", "kitchen", "anna", ANNA),
        session_of_nonce("a nonce", "garden", "berta", ANNA),
        *(session_of_nonce("a nonce", "garden", "anna", each) for each in (scope(), scope(User(2)), {})),
        session_of_nonce("a nonce", "garden", "anna", scope(User(1), "s2")),
    ]
    settings.SECRET_KEY = "another"
    others.append(session_of_nonce("a nonce", "garden", "anna", ANNA))
    assert mine not in others
