"""Scopes: what a socket's says of who is at its other end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_hub.addresses import address_of


def user_id(scope: Mapping[str, Any]) -> str | None:
    """The primary key, as text, of the user who is logged in on this scope."""
    user = scope.get("user")
    return str(user.pk) if user is not None and user.is_authenticated else None


def seen_from(scope: Mapping[str, Any], proxies: int | None) -> str:
    """Where a socket comes from: by its proxies where these are known, else as its server says; ``""``:
    that does not (a unix socket)."""
    client = scope.get("client")
    return (address_of(scope, proxies) if proxies is not None else "") or (str(client[0]) if client else "")
