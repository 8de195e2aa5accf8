"""Session tokens: with one, a client that lost its connection is the same client again.

A token is signed with Django's ``SECRET_KEY`` and is good for one hub, one client id and one login: that of
the user, of this Django session, with this password. Logging out ends it, as does a new password. Whoever
has it and the login's cookie is the client, so it belongs into no address and no log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.core import signing
from django.utils.crypto import constant_time_compare, salted_hmac

from django_hub import closes
from django_hub.exceptions import Refused

_SALT = "django_hub.session"


def make_token(hub: str, client_id: str, session: str, scope: Mapping[str, Any]) -> str:
    return signing.dumps([hub, client_id, session, login_of(scope)], salt=_SALT)


def read_token(token: str, hub: str, scope: Mapping[str, Any]) -> tuple[str, str]:
    """Client id and session of a token. Raises `Refused` (4401) where it is not good here, or any more."""
    try:
        match signing.loads(token, salt=_SALT):
            case [str(of_hub), str(client_id), str(session), str(login)] if of_hub == hub:
                if constant_time_compare(login, login_of(scope)):
                    return client_id, session
    except (signing.BadSignature, ValueError):
        pass
    raise Refused(closes.BAD_TOKEN, "the session token is not valid: connect without it")


def session_of_nonce(nonce: str, hub: str, client_id: str, scope: Mapping[str, Any]) -> str:
    """The session of a client that has no token yet, but a secret of its own: the same on each server.

    Nothing of it is kept, and nothing compared: who does not know the secret, or is another client or
    login, gets another session.
    """
    parts = json.dumps([hub, client_id, login_of(scope), nonce])
    return salted_hmac(f"{_SALT}.nonce", parts, algorithm="sha256").hexdigest()[:32]


def login_of(scope: Mapping[str, Any]) -> str:
    """What a login is known by: another one, where the user logged out, or has a new password."""
    user = scope.get("user")
    if user is None or not user.is_authenticated:
        return ""
    password = getattr(user, "get_session_auth_hash", str)()
    key = getattr(scope.get("session"), "session_key", None)
    return salted_hmac(_SALT, f"{user.pk}\n{key}\n{password}", algorithm="sha256").hexdigest()
