"""Out of a hub: hub_kick, hub_ban, hub_unban."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from django_hub import closes
from django_hub.backoff import waits
from django_hub.conf import get_settings
from django_hub.delivery import taken
from django_hub.entries import Entry, Kind
from django_hub.events import describe, left_body
from django_hub.exceptions import InvalidBound, InvalidMessage
from django_hub.exclusions import ban_refusal, client_subject, user_subject
from django_hub.hubs import HubName, name_of
from django_hub.members import Member
from django_hub.messages import Close, encode
from django_hub.names import require_client_id
from django_hub.notices import NOTICES, Kicked, write
from django_hub.relay import get_relay
from django_hub.stores.ops import Leave
from django_hub.stores.registry import get_store

# A hundred years. Redis counts milliseconds up to a bound of its own, and says nothing helpful above it.
_LONGEST = 100 * 365.25 * 86_400
# So long, in seconds, a member's own server may take to let it go, once its beat has come, before the store
# is told without it.
_PATIENCE = 2.0


async def hub_kick(
    hub: HubName,
    *,
    client_id: str | None = None,
    user: Any = None,
    code: int = closes.FORBIDDEN,
    reason: str = "kicked",
) -> int:
    """Take a client, or all clients of a user, out of a hub; how many members that were.

    ``user``: a user, or its primary key. Sockets are closed with ``code`` and ``reason``, on every server;
    a client of ``hub.v1`` is told not to come back (``reconnect: false``), and one that is lost can't
    resume. Each leaves once, with ``Left(reason="kicked")``; it has when this returns: within a second or,
    where its server missed the word, a beat (``BEAT``); where that server died, after a beat and two
    seconds. Who comes again is let in again: see `hub_ban`. By user it costs a look at all of the hub's
    members.
    Raises `InvalidName`, `InvalidMessage` for a code or reason that can't be sent, `TypeError` where
    not one of ``client_id`` and ``user`` is given, `Unavailable`.
    """
    name = name_of(hub)
    _, client_id, user_id = _subject(client_id, user)
    # Refused here, where it can't be sent, and not in each server.
    encode(Close(code, reason), get_settings().encoder)
    return await _kick(Kicked(name, user_id, client_id, code, reason))


async def hub_ban(
    hub: HubName,
    *,
    client_id: str | None = None,
    user: Any = None,
    seconds: float,
    reason: str = "",
) -> int:
    """Keep a user, or a client id, out of a hub for so many seconds; how many members were put out.

    Those who are in are kicked, with 4403. Who comes is refused with 4403 before it is a member, whatever
    `HubConsumer.authorize` says, on every server; the time is the store's. Again: from now on, for the
    time and the reason given now; 100 years at most. It outlives the hub, and is gone where the store loses
    its data. A client id that the client chooses, or a new one each time, keeps nobody out: ban the user.
    Raises what `hub_kick` does, and `InvalidBound` for ``seconds``.
    """
    name = name_of(hub)
    subject, client_id, user_id = _subject(client_id, user)
    if type(seconds) not in (int, float) or not 0 < seconds <= _LONGEST:
        raise InvalidBound(
            f"A ban is for a number of seconds above 0, and at most {_LONGEST:.0f} (100 years); "
            f"got {seconds!r:.80}."
        )
    if wrong := closes.complaint(closes.FORBIDDEN, reason):
        raise InvalidMessage(wrong)
    refusal = ban_refusal(reason)
    # First: who comes while the others are put out must find it.
    await get_store().ban(name, subject, float(seconds), reason)
    return await _kick(Kicked(name, user_id, client_id, refusal.code, refusal.reason, banned=True))


async def hub_unban(hub: HubName, *, client_id: str | None = None, user: Any = None) -> bool:
    """Let a user, or a client id, in again; as `hub_ban` names them. False: there was no such ban."""
    name = name_of(hub)
    subject, _, _ = _subject(client_id, user)
    return await get_store().unban(name, subject)


def _subject(client_id: str | None, user: Any) -> tuple[str, str, str]:
    """As bans know it; client id and user id, one of which is ``""``."""
    if (client_id is None) is (user is None):
        raise TypeError(
            f"Give client_id=... or user=..., one of both; got {client_id!r:.80} and {user!r:.80}."
        )
    if client_id is not None:
        return client_subject(require_client_id(client_id)), client_id, ""
    user_id = str(getattr(user, "pk", user))
    # Of several, or of a class, `str` makes an id that nobody has: nobody would be put out, without a word.
    # A lazy user, as `request.user` is, has all methods there are, also those of several.
    several = isinstance(user, Iterable) and not (isinstance(user, str) or hasattr(user, "pk"))
    if several or isinstance(user, (bool, type)) or user_id in ("", "None"):
        raise TypeError(f"user is one user who is in the database, or its primary key; got {user!r:.80}.")
    return user_subject(user_id), "", user_id


async def _kick(kicked: Kicked) -> int:
    relay = get_relay()
    members = await _members(kicked)
    text = write(kicked, time.time())
    # A notice, and no Close sent to each: those can be lost, and a socket that the store does not know any
    # more would join again with its next message. So it is its own server that makes it leave.
    await taken([relay.sender.broadcast(Entry(NOTICES, text, kind=Kind.NOTICE))])
    store = get_store()
    # A server that missed the notice hears of it with its next beat. Told before, the store would know
    # nothing of a member whose socket is still there.
    ends = time.monotonic() + get_settings().BEAT + _PATIENCE
    pauses = waits(first=0.005, most=0.1)
    waiting, left = members, list[Member]()
    while waiting:
        now = await asyncio.gather(*(store.member(kicked.hub, each.client_id) for each in waiting))
        waiting = [old for old, new in zip(waiting, now, strict=True) if new and _is_same(old, new)]
        if waiting and time.monotonic() > ends:
            # Where a server died or hangs, nobody heard the notice.
            left = waiting
            break
        if waiting:
            await asyncio.sleep(next(pauses))
    await asyncio.gather(*(relay.outbox.put(_leave(member, kicked)) for member in left))
    return len(members)


async def _members(kicked: Kicked) -> list[Member]:
    store = get_store()
    if kicked.client_id:
        member = await store.member(kicked.hub, kicked.client_id)
        return [] if member is None else [member]
    found: list[Member] = []
    after = ""
    while page := await store.members(kicked.hub, after):
        found += [member for member in page if member.user_id == kicked.user_id]
        after = page[-1].client_id
    return found


def _is_same(old: Member, new: Member) -> bool:
    return old.connection == new.connection


def _leave(member: Member, kicked: Kicked) -> Leave:
    who = describe(member.client_id, member.user_id, member.meta, member.presence)
    return Leave(
        hub=member.hub,
        client_id=member.client_id,
        connection=member.connection,
        process=member.process,
        body=left_body(who, time.time(), "kicked", kicked.code, kicked.reason),
    )
