"""Notices: what every relay with clients is told of the rights of users, whoever and wherever it is that
changed them.

They stand in a log of their own, numbered and kept as a hub's broadcasts are. So one that the channel layer
loses is had from the store with the next beat; and where the store has it no more, that is known, and all
are checked again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TypeAlias

from django_hub.jsontext import JsonText

#: The log's name. No hub can have it: with its NUL `require_hub_name` refuses it.
NOTICES = "\0notices"


@dataclass(frozen=True, slots=True)
class UsersChanged:
    """Something of these users is another: password, permissions, groups, active or not, there or not."""

    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupsChanged:
    """These groups have other permissions."""

    group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllChanged:
    """It is not known, or too much to say, who changed."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """``session`` is `logins.fingerprint` of the session that ended; ``""``: it is not known which."""

    user_id: str
    session: str = ""


@dataclass(frozen=True, slots=True)
class Kicked:
    """Out of this hub with the sockets of this user or, where that is ``""``, of this client id.

    ``banned``: so also with those that are just coming in.
    """

    hub: str
    user_id: str
    client_id: str
    code: int
    reason: str
    banned: bool = False


Notice: TypeAlias = "UsersChanged | GroupsChanged | AllChanged | LoggedOut | Kicked"


def write(notice: Notice, at: float) -> JsonText:
    """``at``: when, in seconds since the epoch."""
    return JsonText(json.dumps([at, type(notice).__name__, *_fields(notice)], separators=(",", ":")))


def _fields(notice: Notice) -> list[object]:
    match notice:
        case UsersChanged(ids) | GroupsChanged(ids):
            return list(ids)
        case LoggedOut(user_id, session):
            return [user_id, session]
        case Kicked():
            return [
                notice.hub,
                notice.user_id,
                notice.client_id,
                notice.code,
                notice.reason,
                notice.banned,
            ]
        case AllChanged():
            return []


def read(text: str) -> tuple[Notice, float]:
    """A notice, and when it was. One of another version may say anything: it is `AllChanged`."""
    match json.loads(text):
        case [float() | int() as at, "UsersChanged", *ids]:
            return UsersChanged(tuple(map(str, ids))), at
        case [float() | int() as at, "GroupsChanged", *ids]:
            return GroupsChanged(tuple(map(str, ids))), at
        case [float() | int() as at, "LoggedOut", str(user_id), str(session)]:
            return LoggedOut(user_id, session), at
        case [
            float() | int() as at,
            "Kicked",
            str(hub),
            str(user_id),
            str(client_id),
            int(code),
            str(reason),
            bool(banned),
        ]:
            return Kicked(hub, user_id, client_id, code, reason, banned), at
        case [float() | int() as at, *_]:
            return AllChanged(), at
    raise ValueError(f"no notice: {text!r:.120}")
