"""Rechecks: what becomes of this process's sockets when rights change that they were let in with."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

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
_MANY = 1000


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
        self._recent: deque[tuple[float, Notice]] = deque(maxlen=_MANY)
        # Since when each notice is known here, by the loop's clock.
        self._known = float("inf")
        # Who came before that, and since when their users may have been loaded.
        self._early: list[tuple[Watched, float]] = []
        self._checked = 0.0
        self._hears = False
        self.inquiries = Inquiries(self.watched, self._all_are_checked)

    # Its life, which is the relay's

    async def begin(self, channel: str) -> None:
        """Hear notices from now on; the relay has this channel."""
        if not self._hears:
            self._hears = True
            self._known = float("inf")
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
        self._known = float("inf")

    async def look(self) -> None:
        """A beat's part."""
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
            notice, at = _read(from_item(NOTICES, "", 0, item))
            age = max(0.0, clock - at)
            if age < _KEPT:
                self._recent.append((now - age, notice))
                whole = whole and (place > 0 or history.seq == len(history.items))
        self._known = now - _KEPT if whole else now
        early, self._early = self._early, []
        for watched, since in early:
            if watched in self.watched:
                self._make_up(watched, since)

    # Sockets

    def watch(
        self,
        connection: Connection,
        scope: Mapping[str, Any],
        user_id: str | None,
        since: float,
        consumer: Checkable | None = None,
    ) -> Refused | None:
        """See to this connection, which is about to join, until it is dropped from those `watched`.

        ``since``: its user was not loaded before, by the loop's clock. What was heard since then is taken
        into account: a refusal, where it may not join after all; or it is checked when it has.
        """
        watched = Watched(connection, scope, consumer, user_id)
        for at, notice in reversed(self._recent):
            if at < since:
                break
            match notice:
                case LoggedOut(who, session) if who == user_id and session:
                    if session == fingerprint(scope.get("session")):
                        return Refused(closes.BAD_TOKEN, "logged out")
                case Kicked(banned=True) if _is_meant(connection, notice):
                    return Refused(notice.code, notice.reason)
        self.watched.add(watched)
        if user_id is None:
            return None
        if self._known == float("inf"):
            self._early.append((watched, since))
        else:
            self._make_up(watched, since)
        return None

    def _make_up(self, watched: Watched, since: float) -> None:
        """Check it, where something may have happened to its user since it was loaded."""
        if since < self._known or any(
            at >= since and _may_concern(notice, watched.user_id) for at, notice in self._recent
        ):
            self.inquiries.of([watched])

    # What is heard

    def _hear(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            notice, _ = _read(entry)
            self._recent.append((asyncio.get_running_loop().time(), notice))
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


def _may_concern(notice: Notice, user_id: str | None) -> bool:
    match notice:
        case UsersChanged(ids):
            return user_id in ids
        case GroupsChanged() | AllChanged():
            return True
    return False


def _read(entry: Entry) -> tuple[Notice, float]:
    if entry.kind is Kind.RESYNC:
        return AllChanged(), 0.0
    return read(str(entry.frame))
