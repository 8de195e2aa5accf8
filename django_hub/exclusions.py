"""Exclusions: who comes, and is banned from the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from django_hub import closes
from django_hub.backoff import waits
from django_hub.batching import Batcher
from django_hub.exceptions import Damaged, Refused, Unavailable
from django_hub.logs import get_logger
from django_hub.stores.base import Store

logger = get_logger(__name__)


class Exclusions:
    """Asks the store for bans, of many clients at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: Batcher[tuple[str, str], str | Damaged | None] = Batcher(self._ask)
        self._away = False

    async def of(
        self,
        hub: str,
        client_id: str,
        user_id: str | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> Refused | None:
        """A refusal, where the user or the client is banned from the hub. Waits while the store is away, as
        a Join would: with ``sleep``, which may raise. Raises `Damaged`."""
        subjects = [client_subject(client_id)]
        if user_id is not None:
            subjects.append(user_subject(user_id))
        pauses = waits()
        while True:
            try:
                reasons = await asyncio.gather(*(self._asked.put((hub, subject)) for subject in subjects))
            except Unavailable:
                await sleep(next(pauses))
                continue
            for reason in reasons:
                if isinstance(reason, Exception):
                    raise reason
                if reason is not None:
                    return ban_refusal(reason)
            return None

    async def _ask(self, asked: Sequence[tuple[str, str]]) -> Sequence[str | Damaged | None]:
        try:
            reasons = await self._store.bans(asked)
        except Unavailable as error:
            # Once, and not once a client that waits.
            if not self._away:
                logger.warning("Clients wait to be let in: %s", error)
            self._away = True
            raise
        self._away = False
        return reasons


def user_subject(user_id: str) -> str:
    """A user, as bans know it."""
    return f"user:{user_id}"


def client_subject(client_id: str) -> str:
    return f"client:{client_id}"


def ban_refusal(reason: str) -> Refused:
    return Refused(closes.FORBIDDEN, f"banned: {reason}" if reason else "banned")
