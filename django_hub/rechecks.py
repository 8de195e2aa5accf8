"""Rechecks: what becomes of this process's sockets when rights change that they were let in with."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django_hub import closes
from django_hub.connection import Connection
from django_hub.entries import Entry, Kind, from_item
from django_hub.events import read_description
from django_hub.exceptions import Damaged, Refused, Unavailable
from django_hub.fanout import Fanout
from django_hub.groups import Groups
from django_hub.inquiries import Inquiries
from django_hub.logins import fingerprint
from django_hub.logs import get_logger
from django_hub.names import group_name
from django_hub.notices import (
    NOTICES,
    AllChanged,
    GroupsChanged,
    Kicked,
    LoggedOut,
    Notice,
    UsersChanged,
    read,
)
from django_hub.ordering import Ordering
from django_hub.stores.base import Store
from django_hub.watched import Checkable, Watch, Watched

logger = get_logger(__name__)

# A notice of the last seconds may be news for a socket that comes only now: its user was loaded before.
_KEPT = 60.0
# So long before a consumer began its user may have been loaded, in seconds.
RECENT = 5.0
# The clocks of servers differ: what stands in the log may be so many seconds younger than it says.
_SKEW = 60.0
_MANY = 1000


class _Newcomer(NamedTuple):
    watched: Watched
    # By the loop's clock: its user was not loaded before, and the store not asked for bans.
    since: float
    asked: float


class Rechecks:
    """Hears `notices` and acts on them: sockets of who logged out, or was kicked, are closed at once; of
    whose rights changed, users are loaded anew, all with one query, and their consumers asked again. A
    client that is lost is dealt with as if it were here: it would not be let in any more.

    A notice comes within a second, or, where the channel layer lost it, with the next beat; where the store
    has it no more, everybody is checked. Beyond that everybody is checked every ``every`` seconds (None:
    never): for what no signal tells, as a session that is over, or rights changed past Django's models.
    """

    def __init__(
        self, store: Store, groups: Groups, fanout: Fanout, ordering: Ordering, every: float | None
    ) -> None:
        self._store = store
        self._groups = groups
        self._fanout = fanout
        self._ordering = ordering
        self._every = every
        #: The sockets, and the clients that are lost.
        self.watched = Watch()
        # In the order of their times, by the loop's clock.
        self._recent: deque[tuple[float, Notice]] = deque()
        # Since when each notice is known here, and up to when they are forgotten, by the loop's clock.
        self._known = math.inf
        self._forgotten = -math.inf
        # Who came before that.
        self._early: list[_Newcomer] = []
        self._checked = 0.0
        self._hears = False
        self.inquiries = Inquiries(self.watched, self._all_are_checked)

    # Its life, which is the relay's

    async def begin(self, channel: str) -> None:
        """Hear notices from now on; the relay has this channel."""
        if not self._hears:
            self._hears = True
            self._known = math.inf
            self._checked = asyncio.get_running_loop().time()
            self._fanout.listen(NOTICES, self._hear)
            await self._groups.enter(group_name(NOTICES), channel)
        await self._settle()

    def end(self) -> None:
        """Nobody is left who could be concerned."""
        if self._hears:
            self._hears = False
            self._fanout.unlisten(NOTICES)
            self._ordering.let_go(NOTICES)
            self._groups.leave(group_name(NOTICES))
        self.inquiries.end()
        self._early = []
        self._known = math.inf

    async def look(self) -> None:
        """A beat's part."""
        self._forget()
        now = asyncio.get_running_loop().time()
        if self._hears and self._known > now:
            await self._settle()
        if self._every is not None and now - self._checked > self._every:
            self._act(AllChanged())

    async def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._ordering.settle(NOTICES)
            history = await self._store.history(NOTICES, 0)
        except (Unavailable, Damaged) as error:
            logger.warning("What happened to the rights of users is not known for now: %s", error)
            return
        now, clock = loop.time(), time.time()
        limits = self._store.limits
        whole = history.seq == len(history.items) or bool(
            limits.history_size and limits.history_ttl > _KEPT
        )
        for place, (_, item) in enumerate(history.items):
            notice, at = _read_kept(item)
            age = max(0.0, clock - at)
            if age < _KEPT + _SKEW:
                # Who was banned and is no more must not meet it again; all else may be looked at twice.
                skew = 0.0 if isinstance(notice, Kicked) and notice.banned else _SKEW
                self._recent.append((now - max(0.0, age - skew), notice))
                whole = whole and (place > 0 or history.seq == len(history.items))
        self._recent = deque(sorted(self._recent, key=lambda each: each[0]))
        self._forget()
        self._known = now - _KEPT if whole else now
        early, self._early = self._early, []
        for newcomer in early:
            if newcomer.watched in self.watched:
                self._make_up(newcomer)

    def _forget(self) -> None:
        # Each may name hundreds of users: a script that saves all of them is not to be remembered for good.
        old = asyncio.get_running_loop().time() - _KEPT
        while self._recent and (len(self._recent) > _MANY or self._recent[0][0] < old):
            self._forgotten, _ = self._recent.popleft()

    # Sockets

    def watch(
        self,
        connection: Connection,
        scope: Mapping[str, Any],
        user_id: str | None,
        since: float,
        asked: float,
        consumer: Checkable | None = None,
    ) -> Refused | None:
        """See to this connection, which is about to join, until it is dropped from those `watched`.

        ``since``: its user was not loaded before, by the loop's clock; ``asked``: nor the store asked
        whether it is banned. What was heard since then is taken into account: a refusal, where it may not
        join after all; or it is checked when it has.
        """
        newcomer = _Newcomer(Watched(connection, scope, consumer, user_id), since, asked)
        missed = self._missed(newcomer)
        if isinstance(missed, Refused):
            return missed
        self.watched.add(newcomer.watched)
        if self._known == math.inf:
            self._early.append(newcomer)
        elif missed:
            self.inquiries.of_newcomer(newcomer.watched)
        return None

    def _make_up(self, newcomer: _Newcomer) -> None:
        missed = self._missed(newcomer)
        if isinstance(missed, Refused):
            self.watched.close(newcomer.watched, missed)
        elif missed:
            self.inquiries.of_newcomer(newcomer.watched)

    def _missed(self, newcomer: _Newcomer) -> Refused | bool:
        """What it did not hear itself means for it: a refusal, or whether it is to be checked."""
        checked = newcomer.watched.user_id is not None and (
            newcomer.since < self._known or newcomer.since <= self._forgotten
        )
        for at, notice in reversed(self._recent):
            if at < newcomer.since:
                break
            meant = _means(notice, at, newcomer)
            if isinstance(meant, Refused):
                return meant
            checked = checked or meant
        return checked

    # What is heard

    def _hear(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            notice, _ = _read(entry)
            self._recent.append((asyncio.get_running_loop().time(), notice))
            self._forget()
            self._act(notice)

    def _act(self, notice: Notice) -> None:
        match notice:
            case UsersChanged(ids):
                self.inquiries.of(each for user_id in ids for each in self.watched.of(user_id))
            case GroupsChanged(ids):
                self.inquiries.of_groups(ids)
            case AllChanged():
                self.inquiries.of_everybody()
            case LoggedOut(user_id, session):
                for watched in list(self.watched.of(user_id)):
                    if not session or session == fingerprint(watched.scope.get("session")):
                        self.watched.close(watched, Refused(closes.BAD_TOKEN, "logged out"))
            case Kicked():
                found = self.watched.of(notice.user_id) if notice.user_id else self.watched.all
                for watched in [each for each in found if _is_meant(each.connection, notice)]:
                    # Whatever the code is: who kicks does not want it back at once.
                    self.watched.close(watched, Refused(notice.code, notice.reason, reconnect=False))

    def _all_are_checked(self) -> None:
        self._checked = asyncio.get_running_loop().time()


def _is_meant(connection: Connection, kicked: Kicked) -> bool:
    if connection.hub != kicked.hub:
        return False
    if kicked.user_id:
        return read_description(connection.who)[1] == kicked.user_id
    return connection.client_id == kicked.client_id


def _means(notice: Notice, at: float, newcomer: _Newcomer) -> Refused | bool:
    """What a notice means for one that came after it; True: it is to be checked."""
    watched = newcomer.watched
    match notice:
        case UsersChanged(ids):
            return watched.user_id in ids
        case GroupsChanged() | AllChanged():
            return watched.user_id is not None
        case LoggedOut(user_id, session) if user_id == watched.user_id:
            if session and session == fingerprint(watched.scope.get("session")):
                return Refused(closes.BAD_TOKEN, "logged out")
            # Of a session that nobody knows: the user may have logged in again.
            return not session
        case Kicked(banned=True):
            # Before it was asked, the store was, which knows also of a ban that was taken back, or is over.
            if at >= newcomer.asked and _is_meant(watched.connection, notice):
                return Refused(notice.code, notice.reason)
        case Kicked():
            # Who was kicked may come again: but by what its hooks say now, not by what they said before.
            return _is_meant(watched.connection, notice)
    return False


def _read(entry: Entry) -> tuple[Notice, float]:
    if entry.kind is Kind.RESYNC:
        return AllChanged(), 0.0
    try:
        return read(str(entry.frame))
    except ValueError as error:
        return _unreadable(error)


def _read_kept(item: str) -> tuple[Notice, float]:
    try:
        return _read(from_item(NOTICES, "", 0, item))
    except ValueError as error:
        return _unreadable(error)


def _unreadable(error: ValueError) -> tuple[Notice, float]:
    """Of another version, and of a time that nobody knows."""
    logger.warning("Something happened to the rights of users that this version can't read: %s", error)
    return AllChanged(), time.time()
