"""The panel: the hub of the admin's live page, its consumer, and the task that shows what there is to see.

Each server process shows its own visitors what they look at, and asks the store and the other servers
for it once a second, once for all who look at the same. What it shows is sent to each of them alone; a
broadcast to their hub, whoever's it is, is heard by none and can be no picture. So no worker is needed, and
nothing has to be elected or taken over where a server dies: its visitors come back elsewhere. While nobody
looks there is no task. The hub's own joins and leaves are nobody's to handle (`UNHEARD`).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import time
from dataclasses import asdict
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import Error

from django_hub import closes
from django_hub.conf import get_settings
from django_hub.consumers import HubConsumer
from django_hub.exceptions import Damaged, Unavailable
from django_hub.layers.choice import get_layer
from django_hub.logs import get_logger
from django_hub.loops import PerLoop
from django_hub.names import OURS, UNHEARD, require_hub_name
from django_hub.questions import Questions
from django_hub.sights import Sight, Viewer, handled
from django_hub.stores.registry import get_store

logger = get_logger(__name__)

PANEL = OURS + "admin"
MAY_SEE = "django_hub.view_hubs"

# Seconds between two looks at the same.
_EVERY = 1.0


class HubsPanel(HubConsumer):
    """Sends what its visitor looks at, as a member of the hub `PANEL`; staff with ``view_hubs`` only."""

    events = UNHEARD
    permission_required = MAY_SEE
    grace = 0.0
    max_message_bytes = 4096
    rate = 10.0
    burst = 50
    when_slow = "latest"

    _named = staticmethod(require_hub_name)
    _shown_by: Panel | None = None

    async def get_hub(self) -> str:
        return PANEL

    async def authorize(self) -> bool:
        # As the page, whose admin lets in nobody but staff.
        return await super().authorize() and bool(getattr(self.scope["user"], "is_staff", False))

    async def may_receive(self) -> bool:
        return False

    async def on_message(self, data: str | bytes) -> None:
        try:
            sight = Sight.read(json.loads(data))
        except (ValueError, RecursionError) as error:
            await self.close(closes.BAD_REQUEST, str(error)[:100])
            return
        self._shown_by = panel_here()
        self._shown_by.show(self, sight)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if self._shown_by is not None:
                await self._shown_by.forget(self)


@database_sync_to_async
def _names(pks: set[str]) -> dict[str, str]:
    model = get_user_model()
    known = {}
    for pk in pks:
        try:
            known[pk] = model._meta.pk.to_python(pk)  # noqa: SLF001
        except ValidationError:
            logger.debug("No user's key: %r", pk)
    try:
        users = model._default_manager.in_bulk(list(known.values()))  # noqa: SLF001
    except Error as error:
        # Who looks just because it is away is to see the hubs all the same.
        logger.warning("Users are shown by their keys, for now: %s", error)
        return {}
    return {pk: users[key].get_username() for pk, key in known.items() if key in users}


class Panel:
    """The visitors of one loop."""

    def __init__(self) -> None:
        self._visitors: dict[HubsPanel, Sight] = {}
        # Those who were shown nothing yet of what they look at now.
        self._new: set[HubsPanel] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._tails: dict[str, int] = {}

    def show(self, visitor: HubsPanel, sight: Sight) -> None:
        self._visitors[visitor] = sight
        self._new.add(visitor)
        self._news.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), context=contextvars.Context())

    async def forget(self, visitor: HubsPanel) -> None:
        """With the last the task ends, before this returns: a server that stops waits for its consumers,
        and Python may crash at its end where a task is still in the layer's queue."""
        self._visitors.pop(visitor, None)
        self._new.discard(visitor)
        self._news.set()
        if not self._visitors and self._task is not None:
            await asyncio.wait([self._task], timeout=get_settings().SHUTDOWN_GRACE)

    async def _run(self) -> None:
        try:
            while self._visitors:
                try:
                    async with Questions(get_layer()) as questions:
                        await self._watch(Viewer(get_store(), questions))
                except Unavailable as error:
                    logger.warning("Nothing is to be seen, for now: %s", error)
                    await asyncio.sleep(_EVERY)
        except Exception:
            logger.exception("The admin's page shows nothing any more; its visitors come back")
            for visitor in list(self._visitors):
                await visitor.close(closes.FAILED, "it failed")
        finally:
            self._task = None
            self._tails.clear()

    async def _watch(self, viewer: Viewer) -> None:
        clock = asyncio.get_running_loop().time
        # What was seen last, and when it is looked at again, whoever comes meanwhile.
        seen: dict[Sight, tuple[float, dict[str, Any]]] = {}
        while self._visitors:
            self._news.clear()
            new, self._new = self._new, set()
            by_sight: dict[Sight, list[HubsPanel]] = {}
            for visitor, sight in self._visitors.items():
                by_sight.setdefault(sight, []).append(visitor)
            seen = {sight: last for sight, last in seen.items() if sight in by_sight}
            for sight, visitors in by_sight.items():
                if sight in seen and clock() < seen[sight][0]:
                    for visitor in new.intersection(visitors):
                        await visitor.send(seen[sight][1], key="picture")
                    continue
                picture = await _picture(viewer, sight)
                seen[sight] = clock() + _EVERY, picture
                for visitor in visitors:
                    await visitor.send(picture, key="picture")
                if sight.hub:
                    await self._show_events(sight.hub)
            shown = {sight.hub for sight in by_sight}
            for hub in [hub for hub in self._tails if hub not in shown]:
                del self._tails[hub]
            due = min(due for due, _ in seen.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._news.wait()

    async def _show_events(self, hub: str) -> None:
        """What was handled since the last time, to all who look at this hub."""
        try:
            tail = await get_store().tail(hub, self._tails.get(hub), 100)
        except Damaged as error:
            logger.warning("The events of hub %s are not shown: %s", hub, error)
            return
        self._tails[hub] = tail.position
        if tail.items or tail.missed:
            events = [handled(hub, item) for item in tail.items]
            message = {"view": "events", "hub": hub, "events": events, "missed": tail.missed}
            for visitor in [each for each, sight in self._visitors.items() if sight.hub == hub]:
                await visitor.send(message)


async def _picture(viewer: Viewer, sight: Sight) -> dict[str, Any]:
    try:
        picture = await viewer.see(sight)
    except Damaged as error:
        # It is the one hub's, and no reason to show nothing of the others.
        picture = {"view": "error", "at": time.time(), "error": str(error)}
    if members := picture.get("members"):
        names = await _names({member["user"] for member in members if member["user"] is not None})
        for member in members:
            member["username"] = names.get(member["user"])
    return {**picture, "sight": asdict(sight)}


_panels: PerLoop[Panel] = PerLoop()


def panel_here() -> Panel:
    """Of the running loop."""
    return _panels.get(Panel)
