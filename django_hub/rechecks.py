"""Rechecks: what becomes of this process's sockets when rights change that they were let in with."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from channels.db import database_sync_to_async
from django.db import Error as DatabaseError

from django_hub import closes
from django_hub.backoff import waits
from django_hub.connection import Connection, Departure
from django_hub.entries import Entry, Kind, from_item
from django_hub.events import read_description
from django_hub.exceptions import Damaged, Refused, Unavailable
from django_hub.fanout import Fanout
from django_hub.groups import Groups
from django_hub.logins import Fresh, LoggedOff, fingerprint, look_up
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

logger = get_logger(__name__)

# A notice of the last seconds may be news for a socket that comes only now: its user was loaded before.
_KEPT = 60.0
# So long before a consumer began its user may have been loaded, in seconds.
RECENT = 5.0
_MANY = 1000
# Hooks asked side by side, and how long each may take, in seconds: one that hangs holds up no other.
_AT_ONCE = 32
_HOOK = 10.0
_TURN = 0.005


class Checkable(Protocol):
    """A consumer that can be asked again."""

    permissions: ClassVar[tuple[str, ...]]
    plain_access: ClassVar[bool]

    async def check_again(self, user: Any, granted: Mapping[str, bool]) -> Refused | None: ...


class _Watched:
    __slots__ = ("connection", "consumer", "scope", "user_id")

    def __init__(
        self, connection: Connection, scope: Mapping[str, Any], consumer: Any, user_id: str | None
    ) -> None:
        self.connection = connection
        self.scope = scope
        self.consumer: Checkable | None = consumer
        self.user_id = user_id


class _Due:
    """Whom to check, gathered while others are checked."""

    def __init__(self) -> None:
        self.watched: dict[_Watched, None] = {}
        self.groups: dict[str, None] = {}
        self.everybody = False

    def __bool__(self) -> bool:
        return bool(self.watched or self.groups or self.everybody)


class Rechecks:
    """Hears `notices` and acts on them: sockets of who logged out, or was kicked, are closed at once; of
    whose rights changed, users are loaded anew, all with one query, and their consumers asked again.

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
        self._watched: dict[Connection, _Watched] = {}
        self._of_user: dict[str, set[_Watched]] = {}
        self._recent: deque[tuple[float, Notice]] = deque(maxlen=_MANY)
        # Since when each notice is known here, by the loop's clock.
        self._known = float("inf")
        # Who came before that, and since when their users may have been loaded.
        self._early: list[tuple[_Watched, float]] = []
        self._checked = 0.0
        self._hears = False
        self._due = _Due()
        self._task: asyncio.Task[None] | None = None
        #: See `Clients.give_up`.
        self.give_up: Callable[[Callable[[Connection], bool], Departure], None] = _nobody_is_lost

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
        if self._task is not None:
            self._task.cancel()
        self._due = _Due()
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
            if watched.connection in self._watched:
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
        """See to this connection, which is about to join, until `unwatch`.

        ``since``: its user was not loaded before, by the loop's clock. What was heard since then is taken
        into account: a refusal, where it may not join after all; or it is checked when it has.
        """
        watched = _Watched(connection, scope, consumer, user_id)
        for at, notice in reversed(self._recent):
            if at < since:
                break
            match notice:
                case LoggedOut(who, session) if who == user_id and session:
                    if session == fingerprint(scope.get("session")):
                        return Refused(closes.BAD_TOKEN, "logged out")
                case Kicked(banned=True) if _is_meant(connection, notice):
                    return Refused(notice.code, notice.reason)
        self._watched[connection] = watched
        if user_id is None:
            return None
        self._of_user.setdefault(user_id, set()).add(watched)
        if self._known == float("inf"):
            self._early.append((watched, since))
        else:
            self._make_up(watched, since)
        return None

    def _make_up(self, watched: _Watched, since: float) -> None:
        """Check it, where something may have happened to its user since it was loaded."""
        if since < self._known or any(
            at >= since and _may_concern(notice, watched.user_id) for at, notice in self._recent
        ):
            self._due.watched[watched] = None
            self._run()

    def unwatch(self, connection: Connection) -> None:
        watched = self._watched.pop(connection, None)
        if watched is None or watched.user_id is None:
            return
        of_user = self._of_user[watched.user_id]
        of_user.discard(watched)
        if not of_user:
            del self._of_user[watched.user_id]

    # What is heard

    def _hear(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            notice, _ = _read(entry)
            self._recent.append((asyncio.get_running_loop().time(), notice))
            self._act(notice)

    def _act(self, notice: Notice) -> None:
        match notice:
            case UsersChanged(ids):
                for user_id in ids:
                    self._due.watched |= dict.fromkeys(self._of_user.get(user_id, ()))
            case GroupsChanged(ids):
                self._due.groups |= dict.fromkeys(ids)
            case AllChanged():
                self._due.everybody = True
            case LoggedOut(user_id, session):
                for watched in tuple(self._of_user.get(user_id, ())):
                    if not session or session == fingerprint(watched.scope.get("session")):
                        _close(watched, Refused(closes.BAD_TOKEN, "logged out"))
            case Kicked():
                found = self._of_user.get(notice.user_id, ()) if notice.user_id else self._watched.values()
                for watched in [each for each in found if _is_meant(each.connection, notice)]:
                    _close(watched, Refused(notice.code, notice.reason))
                self.give_up(lambda c: _is_meant(c, notice), Departure(reason="kicked", code=notice.code))
        self._run()

    # Checking again

    def _run(self) -> None:
        if self._due and self._task is None:
            self._task = asyncio.create_task(self._runs(), context=contextvars.Context())

    async def _runs(self) -> None:
        pauses = waits()
        try:
            while self._due:
                due, self._due = self._due, _Due()
                try:
                    await self._check_all(due)
                except DatabaseError as error:
                    logger.warning("Users can't be checked again, for now: %s", error)
                    self._due.watched |= due.watched
                    self._due.groups |= due.groups
                    self._due.everybody |= due.everybody
                    await asyncio.sleep(next(pauses))
                except Exception:
                    logger.exception("Users were not checked again; they are with the next change")
        finally:
            self._task = None

    async def _check_all(self, due: _Due) -> None:
        if due.everybody:
            self._checked = asyncio.get_running_loop().time()
            await self._check([each for some in self._of_user.values() for each in some], sessions=True)
            return
        if due.watched:
            await self._check(list(due.watched))
        if due.groups:
            # Whose consumer asks for nothing but a login is not concerned.
            concerned = [
                each
                for some in self._of_user.values()
                for each in some
                if each.consumer is not None
                and (each.consumer.permissions or not each.consumer.plain_access)
            ]
            await self._check(concerned, groups=due.groups)

    async def _check(
        self,
        watched: Sequence[_Watched],
        groups: Collection[str] | None = None,
        *,
        sessions: bool = False,
    ) -> None:
        if not watched:
            return
        permissions = {
            name for each in watched if each.consumer is not None for name in each.consumer.permissions
        }
        scopes = [each.scope for each in watched]
        found = await database_sync_to_async(look_up)(scopes, permissions, groups, sessions=sessions)
        asking: list[tuple[_Watched, Fresh]] = []
        for each, user in zip(watched, found, strict=True):
            if isinstance(user, LoggedOff):
                _close(each, Refused(closes.BAD_TOKEN, user.reason))
            elif user is not None and each.consumer is not None:
                asking.append((each, user))
            elif groups is None and each.consumer is not None:
                asking.append((each, Fresh(each.scope.get("user"), {})))
        rest = iter(asking)
        await asyncio.gather(*(self._ask(rest) for _ in range(min(_AT_ONCE, len(asking)))))

    async def _ask(self, asking: Iterable[tuple[_Watched, Fresh]]) -> None:
        clock = asyncio.get_running_loop().time
        turn_ends = clock() + _TURN
        for watched, fresh in asking:
            if watched.consumer is None or watched.connection.left is not None:
                continue
            try:
                async with asyncio.timeout(_HOOK):
                    refusal = await watched.consumer.check_again(fresh.user, fresh.granted)
            except Exception:
                logger.exception("%s failed when it was asked again", type(watched.consumer).__name__)
                refusal = Refused(closes.FAILED, "the server failed")
            if refusal is not None:
                _close(watched, refusal)
            if clock() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = clock() + _TURN


def _close(watched: _Watched, refusal: Refused) -> None:
    connection = watched.connection
    if connection.left is None:
        reason = refusal.reason
        connection.close(refusal.code, reason, reconnect=refusal.reconnect)
        connection.ended(connection, Departure(reason="kicked", code=refusal.code))


def _nobody_is_lost(which: Callable[[Connection], bool], departure: Departure) -> None:
    """Of a relay without clients."""


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
