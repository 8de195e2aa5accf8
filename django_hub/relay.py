"""The relay: the one object per process and event loop that owns the local clients.

It is one member of a hub's group in the channel layer, however many clients the hub has here. What
concerns its clients goes through its parts: their life (clients), their ops into the store (outbox),
frames to them (pump, ordering, fan-out). It runs from its first client to its last, and costs nothing in
between.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Coroutine
from typing import Any

from django.apps import apps
from django.core.signals import setting_changed

from django_hub.account import Account
from django_hub.answers import Answers
from django_hub.bells import Bells
from django_hub.clients import Clients
from django_hub.conf import Settings, get_settings
from django_hub.connection import Connection
from django_hub.departures import Departure
from django_hub.ear import Ear
from django_hub.endings import end
from django_hub.exceptions import Damaged, Unavailable
from django_hub.exclusions import Exclusions
from django_hub.fanout import Fanout
from django_hub.farewells import say_farewell
from django_hub.groups import Groups
from django_hub.hearing import Hearing
from django_hub.keeper import Keeper
from django_hub.layers.base import Layer
from django_hub.layers.choice import get_layer
from django_hub.listener import listen
from django_hub.logs import get_logger
from django_hub.loops import PerLoop
from django_hub.names import session_of
from django_hub.ordering import Ordering
from django_hub.outbox import Outbox
from django_hub.places import Places
from django_hub.rechecks import Rechecks
from django_hub.sender import Sender
from django_hub.stores.base import Store
from django_hub.stores.registry import get_store
from django_hub.unheard import drop_mail
from django_hub.wires.choice import Wires

logger = get_logger(__name__)

_POLL = 0.01
_AWAY = 1.0
# Seconds after which the pump is cancelled again: what it has to tidy up takes less.
_PUMP_ENDS = 2.0


class Relay:
    def __init__(self, layer: Layer, store: Store, settings: Settings) -> None:
        self.store = store
        self.fanout = Fanout()
        self.ordering = Ordering(store, self.fanout)
        self.sender = Sender(layer, store, self.ordering.room, settings.PROCESS_LEASE)
        self.bells = Bells(layer)
        self.bells.drop = functools.partial(drop_mail, store)
        self.groups = Groups(layer)
        self.outbox = Outbox(store, self.bells)
        self.clients = Clients(
            self.outbox, self.groups, self.fanout, self.ordering, self.sender, self._start, self._stop
        )
        self.places = Places(store, self._start, self._stop)
        self.answers = Answers(layer, self.fanout, self.clients)
        self.ear = Ear(layer, self.ordering, self.answers.take, settings.BEAT / 2, self.groups.refresh)
        self.account = Account(store, self.outbox.accepted, self.clients)
        self.outbox.replaced = self.clients.close_replaced
        self.outbox.recovered = self._recovered
        self.outbox.began = self.ordering.begin
        self.rechecks = Rechecks(store, self.groups, self.fanout, self.ordering, settings.RECHECK)
        self.clients.left = self.rechecks.watched.drop
        self.rechecks.watched.give_up = self.clients.give_up
        self.exclusions = Exclusions(store)
        self.clients.excluded = self.exclusions.of
        self.clients.resumed = self._is_its_own
        self.keeper = Keeper(store, self.bells, layer)
        self.wires = Wires(self.shut_down, settings.WIRES, self.drain if settings.DRAIN else None)
        #: The server is about to end: who comes is to go elsewhere.
        self.draining = False
        self._layer = layer
        self._settings = settings
        self._process = ""
        self._life = 0
        self._refreshed = 0.0
        self._tidied: float | None = None
        self._lost_at: float | None = None
        self._beating = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        # The server has ended; what is heard since is for others.
        self._over = False
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: dict[str, asyncio.Task[None]] = {}
        embedded = settings.EMBEDDED_WORKER
        if layer.in_memory if embedded is None else embedded:
            self.bells.heard = self._listen

    async def beat(self) -> None:
        """Show that this process lives. What fails keeps nothing else undone. Raises `Unavailable`."""
        away: Unavailable | None = None
        # One at a time: a store that is back is looked at at once, and the regular beat may be under way.
        async with self._beating:
            for part in (
                self._show_life,
                self.account.look,
                self._join_again,
                self._refresh_groups,
                self.places.look,
                self.ordering.look,
                self.rechecks.look,
                self.ear.look,
            ):
                try:
                    await part()
                except Unavailable as error:
                    away = away or error
                except Exception:
                    logger.exception("A part of a beat failed; the others go on")
        if away is not None:
            raise away

    async def _show_life(self) -> None:
        now = asyncio.get_running_loop().time()
        life = await self.store.beat(self._process)
        if life != self._life:
            logger.warning("This process was declared dead, or the store lost it; its clients join again")
            self._life = life
            self._lost_at = now

    async def _join_again(self) -> None:
        if self._lost_at is not None:
            # Until it has succeeded.
            await self.groups.refresh()
            await self.places.tell()
            await self.clients.all_join_again(self._lost_at)
            self._lost_at = None

    async def _refresh_groups(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._refreshed > self._layer.group_expiry / 3:
            await self.groups.refresh()
            self._refreshed = now

    async def _is_its_own(self, connection: Connection) -> bool:
        """Is the member with that client id the same client?"""
        try:
            member = await self.store.member(connection.hub, connection.client_id)
        except (Unavailable, Damaged):
            return True  # it returns, and is told then
        return member is not None and session_of(member.connection) == connection.session

    def _recovered(self) -> None:
        """The store is back, perhaps without its data: do not wait for the next beat to find out."""
        self.account.suspect()
        if self._tasks and (self._looking is None or self._looking.done()):
            self._looking = _task(self.keeper.once(self.beat))

    @property
    def hearing(self) -> Hearing:
        """How well it hears."""
        return self.ear.hearing

    @property
    def is_running(self) -> bool:
        return bool(self._tasks)

    async def idle(self) -> None:
        """Return when nothing is under way here, and no event waits for an embedded worker."""
        for part in (
            self.clients,
            self.outbox,
            self.bells,
            self.sender,
            self.groups,
            self.ordering,
            self.places,
        ):
            await part.idle()
        # Another loop or process may be the one that handles it: there is nothing to be woken by.
        while self._listeners:
            try:
                if not await self.store.waiting():
                    return
                await asyncio.sleep(_POLL)
            except Unavailable:
                # Who ends would go on for ever, with nobody here.
                await asyncio.sleep(_AWAY)

    async def close(self) -> None:
        """Return when the relay has stopped, if its last client has left."""
        while self._stopping is not None:
            await asyncio.wait([self._stopping])

    async def shut_down(self) -> None:
        """The server ends: all clients leave as ``shutdown``, and what they leave behind is handled.

        Takes at most ``SHUTDOWN_GRACE`` seconds.
        """
        try:
            async with asyncio.timeout(self._settings.SHUTDOWN_GRACE):
                leaving = self.clients.all_leave(Departure(reason="shutdown"))
                self.places.all_leave()
                if leaving:
                    await asyncio.wait(leaving)
                await self.close()
                # Where somebody is in its grace, the relay has not stopped.
                await self.idle()
        except TimeoutError:
            logger.warning("Not all was tidied up in SHUTDOWN_GRACE seconds; leases do the rest")
        # Daphne ends without cancelling what runs: Python would, while half of it is gone.
        self._over = True
        await self._halt()

    async def drain(self) -> None:
        """The server is to end: take no new clients, and send those here away, spread over ``DRAIN``."""
        self.draining = True
        logger.info("%d clients go elsewhere, within %s seconds", len(self.clients), self._settings.DRAIN)
        await say_farewell(self.fanout, self.clients.send_away, self._settings.DRAIN)

    async def _start(self) -> str:
        if not self._tasks:
            if self._starting is None:
                self._starting = _task(self._started())
            await asyncio.shield(self._starting)
        return self._process

    async def _started(self) -> None:
        try:
            # A new one each time: a layer may have dropped the old one when its pump ended.
            self._process = await self._layer.new_channel()
            self._layer.taken_by(self._process, self.ordering)
            self._life = await self.store.beat(self._process)
            await self.account.begin()
            self._refreshed = asyncio.get_running_loop().time()
            if self._tidied is None:
                self._tidied = self._refreshed
            await self.rechecks.begin(self._process)
            self._lost_at = None
            self._over = False
            self.ear.begin(self._process)
            self._tasks = [
                _task(self.keeper.run(self.beat, min(self._settings.BEAT, self._layer.group_expiry / 3)))
            ]
        finally:
            self._starting = None

    def _listen(self, channel: str) -> None:
        # A view that blocks has a loop of its own, which ends with it: the channel is the server's.
        if not (channel in self._listeners or self._over or self._layer.is_heard(channel)):
            self._listeners[channel] = _task(
                listen(self._layer, channel, grace=self._settings.SHUTDOWN_GRACE, embedded=True)
            )

    def _stop(self) -> None:
        if self._stopping is None:
            self._stopping = _task(self._stopped())

    async def _stopped(self) -> None:
        """End what runs, once the last client is gone and what it left behind is handled."""
        try:
            while True:
                await self.idle()
                if self.clients or self.places or not (self._tasks or self._listeners):
                    return
                await self._halt()
                await self._tidy()
        finally:
            self._stopping = None

    async def _halt(self) -> None:
        tasks, self._tasks = [*self.ear.stop(), *self._tasks], []
        listeners, self._listeners = self._listeners, {}
        if self._looking is not None:
            tasks.append(self._looking)
            self._looking = None
        self.rechecks.end()
        self.answers.stop_counting()
        await asyncio.gather(
            end(tasks, _PUMP_ENDS), end(listeners.values(), self._settings.SHUTDOWN_GRACE + 2)
        )

    async def _tidy(self) -> None:
        """Do what is a beat's to do: where all visits are shorter than one, there is none."""
        now = asyncio.get_running_loop().time()
        if self._tidied is not None and now - self._tidied > self._settings.BEAT:
            self._tidied = now
            async with self._beating:
                await self.keeper.once(self.account.look)


def _task(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task in a context of its own: not in that of the client that happens to come first."""
    return asyncio.create_task(work, context=contextvars.Context())


_relays: PerLoop[Relay] = PerLoop()


def get_relay() -> Relay:
    """The relay of the running loop."""
    return _relays.get(_new_relay)


def _new_relay() -> Relay:
    _look_for_app()
    return Relay(get_layer(), get_store(), get_settings())


@functools.cache
def _look_for_app() -> None:
    """Hubs work without: that nobody hears of a logout would be seen too late."""
    if not apps.is_installed("django_hub"):
        logger.error(
            "'django_hub' is not in INSTALLED_APPS: no client is closed when its user logs out or loses "
            "rights, and 'manage.py check' says nothing of hubs. Put it there, before 'channels'."
        )


def relays() -> list[Relay]:
    """All of this process, from any thread."""
    return _relays.all()


def is_anybody_here() -> bool:
    """Has any relay of this process clients, or sockets that may become some?"""
    return any(relay.clients or relay.places.visitors for relay in relays())


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("DJANGO_HUB", "CHANNEL_LAYERS"):
        _relays.clear()


setting_changed.connect(_forget, dispatch_uid="django_hub.relay")
