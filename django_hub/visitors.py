"""Visitors: how many sockets a user or an address may have in all processes, and how fast they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Self

from django_hub import closes
from django_hub.addresses import address_of
from django_hub.conf import get_settings
from django_hub.exceptions import Refused, Unavailable
from django_hub.names import session_of
from django_hub.places import Places
from django_hub.scopes import user_id
from django_hub.stores.base import Store
from django_hub.stores.visits import Place, Score, Visit


class Visitor:
    """One socket: who it is, what it holds, what it is refused with. Its ``with`` gives all back."""

    __slots__ = ("_address", "_holds", "_is_counted", "_places", "_user", "_waits")

    def __init__(self, places: Places, scope: Mapping[str, Any]) -> None:
        settings = get_settings()
        user = user_id(scope)
        address = address_of(scope, settings.PROXIES)
        self._places = places
        self._user = f"user {user}" if user is not None else ""
        self._address = f"address {address}" if address else ""
        self._waits: tuple[str, ...] = ()
        self._holds: Visit | None = None
        self._is_counted = False

    def __enter__(self) -> Self:
        self._places.visitors.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._places.visitors.discard(self)
        self.leave()

    def knock(self, returns: bool) -> Refused | None:
        """What can be said before anything is asked of hooks or the store: a refusal, or None.

        ``returns``: it may be one that comes back, which is not known before it has spoken; until then at
        most as many of a user or an address wait as may be there.
        """
        bounds = self._bounds()
        for subject in (self._user, self._address):
            refusal = self._places.refused(subject)
            if refusal is not None and not returns:
                self._places.refusals.add(refusal.code, subject, refusal.reason, time.monotonic())
                return Refused(refusal.code, refusal.reason)
        for subject, (most, code, reason) in bounds.items():
            if self._places.waiting.get(subject, 0) >= most:
                return self._refuse(subject, code, reason)
        self._waits = tuple(bounds)
        for subject in self._waits:
            self._places.waiting[subject] = self._places.waiting.get(subject, 0) + 1
        return None

    async def enter(self, hub: str) -> None:
        """Take its places, those of a newcomer. Raises `Refused`."""
        await self._take(self._visit_to(hub))

    async def enter_again(self, store: Store, hub: str, client_id: str, session: str) -> None:
        """As `enter`, of a client with a good token. Where it goes on as the member that is there it has
        its places however many there are; it is counted only how often its own session comes.

        Raises `Refused`.
        """
        visit = self._visit_to(hub)
        try:
            member = await store.member(hub, client_id) if visit.places or visit.scores else None
        except Unavailable:
            member = None  # what its own process knows decides
        if member is not None and session_of(member.connection) == session:
            settings = get_settings()
            places = tuple(Place(place.subject, None, place.part) for place in visit.places)
            scores: tuple[Score, ...] = ()
            if settings.JOINS_PER_USER is not None:
                half_life = settings.JOINS_HALF_LIFE
                scores = (Score(f"session {session}", settings.JOINS_PER_USER, half_life),)
            visit = Visit(places, scores)
        await self._take(visit)

    def is_user(self, user: object) -> None:
        """Who it is was not known when it came: a ticket says it. From now on it counts as that user's."""
        self._user = f"user {user}"

    def turned_away(self) -> None:
        """It may not join, for another reason: that it came counts all the same, if it did not yet."""
        if not self._is_counted and (scores := self._scores()):
            self._is_counted = True
            visit = Visit(scores=scores)
            self._places.put(visit).add_done_callback(lambda asked: self._refusal(visit, asked))

    def met_a_full(self, hub: str, refusal: Refused) -> None:
        self._places.refusals.add(refusal.code, f"a client of hub {hub}", refusal.reason, time.monotonic())

    def leave(self) -> None:
        """Again does nothing."""
        self._wait_no_more()
        if self._holds is not None:
            self._places.put(Visit(self._holds.places, goes=True))
            self._holds = None

    async def _take(self, visit: Visit) -> None:
        if not (visit.places or visit.scores):
            self._wait_no_more()
            return
        self._is_counted = True
        asked = self._places.put(visit)
        try:
            await asyncio.shield(asked)
        except asyncio.CancelledError:
            asked.add_done_callback(lambda asked: self._give_back(visit, asked))
            raise
        self._wait_no_more()
        refusal = self._refusal(visit, asked)
        if refusal is not None:
            raise refusal
        self._holds = visit

    def _give_back(self, visit: Visit, asked: asyncio.Future[int | None]) -> None:
        if not asked.cancelled() and asked.result() is None:
            self._places.put(Visit(visit.places, goes=True))

    def _refusal(self, visit: Visit, asked: asyncio.Future[int | None]) -> Refused | None:
        """What the answer means."""
        answer = None if asked.cancelled() else asked.result()
        if answer is None:
            return None
        if answer >= len(visit.places):
            subject = visit.scores[answer - len(visit.places)].subject
            return self._refuse(subject, closes.TOO_MANY_JOINS, "too many joins in a short time")
        place = visit.places[answer]
        if place.part:
            return self._refuse(place.subject, closes.TOO_MANY_HUBS, "too many hubs of one user")
        _, code, reason = self._bounds()[place.subject]
        return self._refuse(place.subject, code, reason)

    def _refuse(self, subject: str, code: int, reason: str) -> Refused:
        refusal = Refused(code, reason)
        if subject in (self._user, self._address):
            self._places.refuse(subject, refusal)
        else:
            # Nobody asks at the door for a session, or for the hubs of a user.
            who = self._user or self._address or "a client"
            self._places.refusals.add(code, who, reason, time.monotonic())
        return refusal

    def _bounds(self) -> dict[str, tuple[int, int, str]]:
        """Of those that are bounded: how many sockets, and what more of them are refused with."""
        settings = get_settings()
        of_user, of_address = settings.CONNECTIONS_PER_USER, settings.CONNECTIONS_PER_ADDRESS
        bounds = {}
        if self._user and of_user is not None:
            bounds[self._user] = of_user, closes.TOO_MANY_OF_USER, "too many connections of one user"
        if self._address and of_address is not None:
            text = "too many connections of one address"
            bounds[self._address] = of_address, closes.TOO_MANY_OF_ADDRESS, text
        return bounds

    def _visit_to(self, hub: str) -> Visit:
        places = [Place(subject, most) for subject, (most, *_) in self._bounds().items()]
        hubs = get_settings().HUBS_PER_USER
        if self._user and hubs is not None:
            places.append(Place(f"hubs of {self._user}", hubs, hub))
        return Visit(tuple(places), self._scores())

    def _scores(self) -> tuple[Score, ...]:
        settings = get_settings()
        mosts = (self._user, settings.JOINS_PER_USER), (self._address, settings.JOINS_PER_ADDRESS)
        return tuple(
            Score(subject, most, settings.JOINS_HALF_LIFE)
            for subject, most in mosts
            if subject and most is not None
        )

    def _wait_no_more(self) -> None:
        waiting = self._places.waiting
        for subject in self._waits:
            waiting[subject] -= 1
            if not waiting[subject]:
                del waiting[subject]
        self._waits = ()
