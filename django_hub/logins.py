"""Logins: is who was let in once still logged in? Asked of the database, for many sockets at once.

All here blocks: call it in the thread for the database.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, TypeAlias

from django import db
from django.apps import apps
from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_backends,
    get_user_model,
    load_backend,
)
from django.contrib.sessions.backends import signed_cookies
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

_SALT = "django_hub.logins"
# Users, and sessions, of one query: all databases take so many parameters.
_AT_ONCE = 10_000
# So long, in seconds, the thread is held up by what is asked one by one.
_BUSY = 0.05

_Scope: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fresh:
    """A user as the database has it now. ``granted`` says of some permissions whether it has them; of
    others it must be asked itself."""

    user: Any
    granted: Mapping[str, bool]


class Nobody(enum.Enum):
    """Nobody is logged in here any more."""

    NOBODY = enum.auto()


@dataclass(frozen=True, slots=True)
class Unsure:
    """Whoever must be asked of this one user failed: to be asked again."""

    error: Exception


#: Of a scope: what there is of its user now; None: that can't be asked, or it is not concerned.
Found: TypeAlias = "Fresh | Literal[Nobody.NOBODY] | Unsure | None"


def fingerprint(session: Any) -> str:
    """What tells a session from others, and is no secret; ``""`` for one that has no key to keep.

    Sessions in signed cookies have another key with each answer: they can't be told from each other.
    """
    if session is None or isinstance(session, signed_cookies.SessionStore) or not session.session_key:
        return ""
    return salted_hmac(_SALT, session.session_key, algorithm="sha256").hexdigest()[:32]


def look_up(
    scopes: Sequence[_Scope],
    permissions: Collection[str] = (),
    groups: Collection[str] | None = None,
    *,
    sessions: bool = False,
) -> Iterator[list[Found]]:
    """What there is of each scope's user, by one query for 10,000 users, whatever their sockets are.

    A login holds as `django.contrib.auth.get_user` says: the user is there and may authenticate, and the
    session's hash, or where there is no session that of the user it came with, fits the password.
    ``groups``: only of users in one of these. ``sessions``: see also that the sessions are still there.

    In the order of the scopes. Other backends than Django's, and sessions that are in no database, are
    asked one by one: that may take long, and the thread is for everybody. So all is had some at a time.
    Raises what the database does.
    """
    if not apps.is_installed("django.contrib.auth"):
        yield [None] * len(scopes)
        return
    model = get_user_model()
    ids: dict[str, None] = {}
    for scope in scopes:
        if _is_model(scope, model):
            ids[str(scope["user"].pk)] = None
    asked = _asked(permissions)
    users: dict[str, Any] = {}
    for some in _chunks(ids):
        for user in _query(model, some, asked, groups):
            users[str(user.pk)] = user
    singly = _Singly()
    ended = _Ended(scopes, singly) if sessions else None
    fresh: dict[str, Fresh] = {}
    for name, user in users.items():
        granted = {each: bool(getattr(user, column)) for column, each in asked.items()}
        if getattr(user, "is_superuser", False):
            granted = dict.fromkeys(granted, True)
        if not getattr(user, "is_active", True):
            granted = dict.fromkeys(granted, False)
        fresh[name] = Fresh(user, granted)
    hashes: dict[str, str] = {}
    found: list[Found] = []
    for scope in scopes:
        try:
            found.append(_found(scope, model, fresh, hashes, ended, singly, groups is not None))
        except db.Error:
            raise
        except Exception as error:  # noqa: BLE001 (as a directory that is away)
            found.append(Unsure(error))
        if singly.spent > _BUSY:
            yield found
            found = []
            singly.spent = 0.0
    yield found


def get_user(user_id: str) -> Any:
    """The user of that key who may log in, or None."""
    user = get_user_model()._default_manager.filter(pk=user_id).first()
    return user if user is not None and getattr(user, "is_active", True) else None


def _found(
    scope: _Scope,
    model: type[Any],
    fresh: Mapping[str, Fresh],
    hashes: dict[str, str],
    ended: _Ended | None,
    singly: _Singly,
    only_some: bool,
) -> Found:
    if not _is_model(scope, model):
        return None
    then = scope["user"]
    name = str(then.pk)
    found = fresh.get(name)
    if found is None and only_some:
        return None
    session: Any = scope.get("session")
    login = session is not None and session.get(SESSION_KEY) is not None
    if login and ended is not None and ended.has(session):
        return Nobody.NOBODY
    if login:
        path = session.get(BACKEND_SESSION_KEY)
        if path not in settings.AUTHENTICATION_BACKENDS:
            return Nobody.NOBODY
        from django.contrib.auth.backends import (
            ModelBackend,
        )  # a module with models: not before they are ready

        backend: Any = load_backend(path)
        if getattr(type(backend), "get_user", None) is not ModelBackend.get_user:
            # It decides for itself, and must be asked.
            user = singly.ask(backend.get_user, then.pk)
            found = None if user is None else Fresh(user, {})
        elif found is not None and not backend.user_can_authenticate(found.user):
            found = None
    elif found is not None and not getattr(found.user, "is_active", True):
        found = None
    if found is None or not _fits(name, found.user, then, session if login else None, hashes):
        return Nobody.NOBODY
    return found


def _fits(name: str, user: Any, then: Any, session: Any, hashes: dict[str, str]) -> bool:
    if not hasattr(user, "get_session_auth_hash") or (session is None and _same_password(user, then)):
        return True
    if name not in hashes:
        hashes[name] = user.get_session_auth_hash()
    had = then.get_session_auth_hash() if session is None else session.get(HASH_SESSION_KEY) or ""
    return constant_time_compare(had, hashes[name]) or any(
        constant_time_compare(had, older) for older in user.get_session_auth_fallback_hash()
    )


def _same_password(user: Any, then: Any) -> bool:
    """Without a keyed hash of each, which is most of the work for many users."""
    from django.contrib.auth.base_user import AbstractBaseUser  # as above

    own = getattr(type(user), "get_session_auth_hash", None)
    return own is AbstractBaseUser.get_session_auth_hash and constant_time_compare(
        user.password, then.password
    )


def _is_model(scope: _Scope, model: type[Any]) -> bool:
    return isinstance(scope.get("user"), model)


def _asked(permissions: Collection[str]) -> dict[str, str]:
    """Columns for permissions, where it is Django's own tables alone that say who has them."""
    from django.contrib.auth.backends import AllowAllUsersModelBackend, ModelBackend  # as above

    model = get_user_model()
    standard = all(type(backend) in (ModelBackend, AllowAllUsersModelBackend) for backend in get_backends())
    if not standard or not {"groups", "user_permissions"} <= {
        field.name for field in model._meta.get_fields()
    }:
        return {}
    return {f"hub_permission_{place}": each for place, each in enumerate(sorted(permissions))}


def _query(
    model: Any, ids: list[str], asked: Mapping[str, str], groups: Collection[str] | None
) -> QuerySet[Any]:
    users: QuerySet[Any] = model._default_manager.filter(pk__in=ids)
    if groups is not None:
        try:
            users = users.filter(Exists(_of_user(model, "groups").filter(group__in=list(groups))))
        except FieldDoesNotExist:
            return users.none()
    columns = {}
    for column, permission in asked.items():
        app, _, name = permission.partition(".")
        own = {"permission__codename": name, "permission__content_type__app_label": app}
        shared = {f"group__permissions__{key.removeprefix('permission__')}": v for key, v in own.items()}
        # Two questions, each by an index on the user: as one with OR, PostgreSQL and SQLite walk the group.
        columns[column] = Exists(_of_user(model, "user_permissions").filter(**own)) | Exists(
            _of_user(model, "groups").filter(**shared)
        )
    found: QuerySet[Any] = users.annotate(**columns)
    return found


def _of_user(model: Any, name: str) -> QuerySet[Any]:
    """The rows that tie the outer query's user to its groups, or its permissions."""
    field = model._meta.get_field(name)
    rows: QuerySet[Any] = field.remote_field.through._default_manager.filter(
        **{field.m2m_field_name(): OuterRef("pk")}
    )
    return rows


class _Singly:
    """Whom to ask one by one, and how long that has taken."""

    def __init__(self) -> None:
        self.spent = 0.0

    def ask(self, whom: Callable[[Any], Any], what: object) -> Any:
        began = time.monotonic()
        try:
            return whom(what)
        finally:
            self.spent += time.monotonic() - began


class _Ended:
    """Which sessions are no longer there."""

    def __init__(self, scopes: Iterable[_Scope], singly: _Singly) -> None:
        self._singly = singly
        self._ended: dict[str, bool] = {}
        stores: dict[str, Any] = {}
        for scope in scopes:
            session: Any = scope.get("session")
            if hasattr(session, "get_model_class") and session.session_key:
                stores[session.session_key] = session
        for some in _chunks(stores):
            model = stores[some[0]].get_model_class()
            there = model.objects.filter(session_key__in=some, expire_date__gt=timezone.now())
            self._ended |= dict.fromkeys(some, True)
            self._ended |= dict.fromkeys(there.values_list("session_key", flat=True), False)

    def has(self, session: Any) -> bool:
        key = session.session_key
        if key not in self._ended:
            self._ended[key] = bool(fingerprint(session)) and not self._singly.ask(session.exists, key)
        return self._ended[key]


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while some := list(islice(rest, _AT_ONCE)):
        yield some
