"""What a socket's scope says of who is at its other end."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from django_hub.scopes import seen_from, user_id


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ({}, None),
        ({"user": None}, None),
        ({"user": AnonymousUser()}, None),
        ({"user": User(pk=7)}, "7"),
    ],
    ids=["no user", "None", "anonymous", "logged in"],
)
def test_the_user_of_a_scope(scope: dict[str, Any], expected: str | None) -> None:
    assert user_id(scope) == expected


@pytest.mark.parametrize(
    ("scope", "proxies", "expected"),
    [
        ({}, None, ""),
        ({"client": None}, None, ""),
        ({"client": ["192.0.2.1", 4711]}, None, "192.0.2.1"),
        ({"client": ["192.0.2.1", 4711]}, 0, "192.0.2.1"),
        ({"client": ["10.0.0.1", 4711], "headers": [(b"x-forwarded-for", b"192.0.2.1")]}, 1, "192.0.2.1"),
        ({"client": ["10.0.0.1", 4711], "headers": [(b"x-forwarded-for", b"192.0.2.1")]}, None, "10.0.0.1"),
        ({"client": ["no address", 4711]}, 0, "no address"),
    ],
)
def test_where_it_comes_from(scope: dict[str, Any], proxies: int | None, expected: str) -> None:
    assert seen_from(scope, proxies) == expected
