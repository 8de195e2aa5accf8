"""Changes of users' rights, as Django's signals tell of them: every server hears of each, as a notice.

Who saves a user, or logs out, waits for nothing here: the notice goes out behind the transaction, from a
thread of its own, and where the store is away it is tried for a while and then logged.
What no signal tells (``QuerySet.update``, SQL, a directory elsewhere) is seen with the next regular check:
``DJANGO_HUB["RECHECK"]``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Collection, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.auth.signals import user_logged_out
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save

from django_hub.background import background
from django_hub.batching import Batcher
from django_hub.delivery import taken
from django_hub.entries import Entry, Kind
from django_hub.layers.choice import get_layer
from django_hub.logins import fingerprint
from django_hub.logs import get_logger
from django_hub.notices import (
    NOTICES,
    AllChanged,
    GroupsChanged,
    LoggedOut,
    Notice,
    UsersChanged,
    write,
)
from django_hub.relay import get_relay, is_anybody_here

logger = get_logger(__name__)

# More ids than this are not told one by one.
_MANY = 500
_ADDED_OR_REMOVED = ("post_add", "post_remove", "post_clear")


def connect() -> None:
    """Hear Django's signals from now on. Connects to nothing else."""
    model = get_user_model()
    user_logged_out.connect(_logged_out, dispatch_uid="django_hub.logged_out")
    # By no sender: a proxy's, or a child's, is another one.
    post_save.connect(_saved, dispatch_uid="django_hub.saved")
    post_delete.connect(_deleted, dispatch_uid="django_hub.deleted")
    for name, changed in (("groups", _of_user_changed), ("user_permissions", _of_user_changed)):
        through = getattr(getattr(model, name, None), "through", None)
        if through is not None:
            m2m_changed.connect(changed, sender=through, dispatch_uid=f"django_hub.{name}")
    m2m_changed.connect(
        _of_group_changed, sender=Group.permissions.through, dispatch_uid="django_hub.permissions"
    )


def _logged_out(request: Any, user: Any, **_: Any) -> None:
    if user is not None and getattr(user, "pk", None) is not None:
        _tell(LoggedOut(str(user.pk), fingerprint(getattr(request, "session", None))))


def _saved(instance: Any, created: bool, using: str, update_fields: Any = None, **_: Any) -> None:
    if created or not isinstance(instance, get_user_model()):
        return
    if update_fields is not None and set(update_fields) <= {"last_login"}:
        return  # it is somebody who logs in
    _tell(UsersChanged((str(instance.pk),)), using)


def _deleted(instance: Any, using: str, **_: Any) -> None:
    if isinstance(instance, get_user_model()):
        _tell(UsersChanged((str(instance.pk),)), using)
    elif isinstance(instance, (Group, Permission)):
        # Who had it can't be asked any more.
        _tell(AllChanged(), using)


def _of_user_changed(
    instance: Any, action: str, reverse: bool, pk_set: Collection[Any] | None, using: str, **_: Any
) -> None:
    if action in _ADDED_OR_REMOVED:
        users = (pk_set or ()) if reverse else (instance.pk,)
        _tell(_changed(users) if users else AllChanged(), using)


def _of_group_changed(
    instance: Any, action: str, reverse: bool, pk_set: Collection[Any] | None, using: str, **_: Any
) -> None:
    if action in _ADDED_OR_REMOVED:
        groups = (pk_set or ()) if reverse else (instance.pk,)
        few = 0 < len(groups) <= _MANY
        _tell(GroupsChanged(tuple(map(str, groups))) if few else AllChanged(), using)


def _changed(users: Collection[Any]) -> Notice:
    return UsersChanged(tuple(map(str, users))) if len(users) <= _MANY else AllChanged()


def _tell(notice: Notice, using: str = DEFAULT_DB_ALIAS) -> None:
    transaction.on_commit(functools.partial(_send, notice), using=using, robust=True)


def _send(notice: Notice) -> None:
    try:
        if not get_layer().in_memory or is_anybody_here():
            background.begin(_sent(notice))
    except Exception as error:  # noqa: BLE001 (nothing of ours may harm who saves a user)
        # Some settings are for commands or tests alone, and have no layer.
        _tell_once(f"{type(error).__name__}: {error}")


@functools.cache
def _tell_once(error: str) -> None:
    logger.warning("Changes of users' rights are told to no server: %s", error)


async def _sent(notice: Notice) -> None:
    try:
        await _waiting().put(notice)
    except Exception:
        logger.exception(
            "Not told to the servers: %.200r. They see it with their next regular check", notice
        )


async def _tell_all(notices: Sequence[Notice]) -> Sequence[None]:
    """Many at once are one: a script may save each of its users."""
    users = {each for notice in notices if isinstance(notice, UsersChanged) for each in notice.user_ids}
    groups = {each for notice in notices if isinstance(notice, GroupsChanged) for each in notice.group_ids}
    merged: list[Notice] = [notice for notice in notices if isinstance(notice, LoggedOut)]
    if len(users) > _MANY or len(groups) > _MANY or any(isinstance(each, AllChanged) for each in notices):
        merged.append(AllChanged())
    else:
        merged += [UsersChanged(tuple(users))] if users else []
        merged += [GroupsChanged(tuple(groups))] if groups else []
    sender, now = get_relay().sender, time.time()
    await taken([sender.broadcast(Entry(NOTICES, write(each, now), kind=Kind.NOTICE)) for each in merged])
    return [None] * len(notices)


@functools.cache
def _waiting() -> Batcher[Notice, None]:
    """On the background loop alone."""
    return Batcher(_tell_all)
