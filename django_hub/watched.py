"""The sockets of this process that are seen to when rights change, and of which user each is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.exceptions import Refused


class Checkable(Protocol):
    """A consumer that can be asked again."""

    permissions: ClassVar[tuple[str, ...]]
    plain_access: ClassVar[bool]

    def knows(self, user: Any, granted: Mapping[str, bool]) -> bool | None: ...

    async def check_again(self, user: Any, granted: Mapping[str, bool]) -> Refused | None: ...


class Watched:
    """One socket, or the place of a client that is lost and may be back."""

    __slots__ = ("connection", "consumer", "scope", "user_id")

    def __init__(
        self,
        connection: Connection,
        scope: Mapping[str, Any],
        consumer: Checkable | None,
        user_id: str | None,
    ) -> None:
        self.connection = connection
        self.scope = scope
        self.consumer = consumer
        self.user_id = user_id


class Watch:
    """All of them."""

    def __init__(self) -> None:
        self._all: dict[Connection, Watched] = {}
        self._of_user: dict[str, dict[Watched, None]] = {}
        #: See `Clients.give_up`.
        self.give_up: Callable[[Connection, Departure], None] = _nobody_is_lost

    def __contains__(self, watched: Watched) -> bool:
        return watched.connection in self._all

    @property
    def all(self) -> Iterable[Watched]:
        return self._all.values()

    @property
    def of_users(self) -> Iterable[Watched]:
        """Those of somebody who is logged in."""
        return (each for some in self._of_user.values() for each in some)

    def of(self, user_id: str) -> Iterable[Watched]:
        return self._of_user.get(user_id, ())

    def add(self, watched: Watched) -> None:
        self._all[watched.connection] = watched
        if watched.user_id is not None:
            self._of_user.setdefault(watched.user_id, {})[watched] = None

    def drop(self, connection: Connection) -> None:
        watched = self._all.pop(connection, None)
        if watched is None or watched.user_id is None:
            return
        of_user = self._of_user[watched.user_id]
        del of_user[watched]
        if not of_user:
            del self._of_user[watched.user_id]

    def close(self, watched: Watched, refusal: Refused) -> None:
        """Out with it; where it is lost, its client won't resume."""
        connection = watched.connection
        if connection.left is None:
            connection.put_out("kicked", refusal)
        else:
            self.give_up(connection, Departure(reason="kicked", code=refusal.code))


def _nobody_is_lost(connection: Connection, departure: Departure) -> None:
    """Of a relay without clients."""
