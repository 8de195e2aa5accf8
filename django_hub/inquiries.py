"""Inquiries: are those who were let in still to be there? All whom one concerns are asked of together."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from channels.db import database_sync_to_async
from django import db

from django_hub import closes
from django_hub.backoff import waits
from django_hub.exceptions import Refused
from django_hub.interviews import Interviews
from django_hub.logins import Found, Fresh, Nobody, Unsure, look_up
from django_hub.logs import get_logger
from django_hub.turns import Turn
from django_hub.watched import Watch, Watched

logger = get_logger(__name__)

# Of whom a backend could not say anything is asked again after so many seconds.
_LATER = 2.0
# From so many on what is loaded of them is much.
_MANY = 1000


class _Due:
    """Whom to check, gathered while others are checked."""

    def __init__(self) -> None:
        self.watched: dict[Watched, None] = {}
        self.newcomers: dict[Watched, None] = {}
        self.groups: dict[str, None] = {}
        self.everybody = False

    def __bool__(self) -> bool:
        return bool(self.watched or self.newcomers or self.groups or self.everybody)

    def add(self, other: _Due) -> None:
        self.watched |= other.watched
        self.newcomers |= other.newcomers
        self.groups |= other.groups
        self.everybody |= other.everybody


class Inquiries:
    """Loads the users of sockets anew, all with one query, and closes those that may not stay; whose
    consumer has hooks of its own, these are asked. What is asked for meanwhile is the next inquiry."""

    def __init__(self, watch: Watch, began: Callable[[], None]) -> None:
        """``began`` is told when everybody is checked."""
        self._watch = watch
        self._interviews = Interviews(watch)
        self._began = began
        self._due = _Due()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        return self._task is None and self._interviews.is_idle

    def of(self, watched: Iterable[Watched]) -> None:
        self._due.watched |= dict.fromkeys(watched)
        self._run()

    def of_newcomer(self, watched: Watched) -> None:
        """It is not known what happened since its user was loaded: its session, too, may be over."""
        self._due.newcomers[watched] = None
        self._run()

    def _of_again(self, watched: Iterable[Watched]) -> None:
        self._due.newcomers |= dict.fromkeys(each for each in watched if each in self._watch)
        self._run()

    def of_groups(self, ids: Iterable[str]) -> None:
        self._due.groups |= dict.fromkeys(ids)
        self._run()

    def of_everybody(self) -> None:
        self._due.everybody = True
        self._run()

    def end(self) -> None:
        self._due = _Due()
        if self._task is not None:
            self._task.cancel()
            # Now: one that had not begun ends without a word, one that waits for the database goes on for a
            # while, and there may be a next life.
            self._task = None
        self._interviews.end()

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
                except Exception as error:
                    # Whatever it is, nobody is to be forgotten. Of a database that is away there is no more
                    # to say.
                    unheard_of = not isinstance(error, db.Error)
                    logger.warning("Users can't be checked again, for now: %s", error, exc_info=unheard_of)
                    self._due.add(due)
                    await asyncio.sleep(next(pauses))
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    async def _check_all(self, due: _Due) -> None:
        if due.everybody:
            self._began()
            others = [each for each in due.newcomers if each.user_id is None]
            await self._check([*self._watch.of_users, *others], sessions=True)
            return
        if due.newcomers:
            await self._check(list(due.newcomers), sessions=True)
        if due.watched:
            await self._check(list(due.watched))
        if due.groups:
            # Whose consumer asks for nothing but a login is not concerned.
            concerned = [
                each
                for each in self._watch.of_users
                if each.consumer is not None
                and (each.consumer.permissions or not each.consumer.plain_access)
            ]
            await self._check(concerned, groups=due.groups)

    async def _check(
        self,
        watched: Sequence[Watched],
        groups: Collection[str] | None = None,
        *,
        sessions: bool = False,
    ) -> None:
        if not watched:
            return
        # Most are of a few classes.
        permissions = {
            name
            for names in {each.consumer.permissions for each in watched if each.consumer is not None}
            for name in names
        }
        scopes = [each.scope for each in watched]
        quietly = _no_collections if len(watched) >= _MANY else contextlib.nullcontext
        looking = look_up(scopes, permissions, groups, sessions=sessions)

        def load() -> list[Found] | None:
            # In here: how long it waits for the thread nobody knows.
            with quietly():
                return next(looking, None)

        turn = Turn()
        unsure: dict[Watched, Exception] = {}
        rest = iter(watched)
        while (found := await database_sync_to_async(load)()) is not None:
            with quietly():
                for user, each in zip(found, rest, strict=False):
                    if user is Nobody.NOBODY:
                        self._watch.close(each, Refused(closes.BAD_TOKEN, "no longer logged in"))
                    elif isinstance(user, Unsure):
                        unsure[each] = user.error
                    elif each.consumer is not None and (user is not None or groups is None):
                        fresh = user or Fresh(each.scope.get("user"), {})
                        knows = each.consumer.knows(fresh.user, fresh.granted)
                        if knows is None:
                            self._interviews.of(each, fresh)
                        elif not knows:
                            self._watch.close(each, Refused(closes.FORBIDDEN, "not allowed"))
                    if turn.is_over:
                        await turn.next()
        if unsure:
            error = next(iter(unsure.values()))
            logger.warning(
                "%d sockets can't be checked again, for now: %s", len(unsure), error, exc_info=error
            )
            asyncio.get_running_loop().call_later(_LATER, self._of_again, tuple(unsure))


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """What is made for thousands of users makes Python collect its garbage, again and again, with a look at
    every object of every socket. Of 10,000 sockets that were three looks of 0.4 to 0.6 s each, more than
    half of the whole time, in which nobody was served; and nothing was found.

    Not while hooks are asked: these take as long as they take.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
