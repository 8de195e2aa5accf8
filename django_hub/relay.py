"""The relay: the one object per process and event loop that owns the local clients.

It is one member of a hub's group in the channel layer, however many clients the hub has here. What
concerns its clients goes through it: their ops into the store (outbox), frames to them (pump, fan-out),
their life (beat). It runs from its first client to its last, and costs nothing in between.
"""

from __future__ import annotations

import asyncio
import logging
import random
import weakref
from collections.abc import Sequence
from typing import Any

from django.core.signals import setting_changed

from django_hub.batching import Batcher
from django_hub.bells import Bells
from django_hub.conf import Settings, get_settings
from django_hub.connection import Connection, Departure
from django_hub.exceptions import Unavailable
from django_hub.fanout import Fanout
from django_hub.groups import Groups
from django_hub.layer import Layer, get_layer
from django_hub.listener import listen
from django_hub.messages import Close
from django_hub.names import group_name
from django_hub.outbox import Outbox
from django_hub.parcels import Entry, Scope
from django_hub.pump import pump
from django_hub.sender import Sender
from django_hub.stores.base import Store
from django_hub.stores.ops import Address, Outcome
from django_hub.stores.registry import get_store

logger = logging.getLogger(__name__)

CLOSE_REPLACED = 4409

# A full mailbox is looked at again this often, in seconds.
_FULL = 0.05
# After a write failed, the reader has this long to say why the socket ended: it knows the close code.
_WORD_OF_READER = 1.0
_POLL = 0.01


class Relay:
    def __init__(self, layer: Layer, store: Store, settings: Settings) -> None:
        self.store = store
        self.fanout = Fanout()
        self.sender = Sender(layer, self.fanout.room)
        self.bells = Bells(layer)
        self.groups = Groups(layer)
        self.outbox = Outbox(store, self.bells, self._close_replaced)
        self._layer = layer
        self._settings = settings
        self._process = ""
        self._clients = 0
        self._entering: Batcher[Connection, None] = Batcher(self._enter)
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._listeners: dict[str, asyncio.Task[None]] = {}
        embedded = settings.EMBEDDED_WORKER
        if layer.in_memory if embedded is None else embedded:
            self.bells.heard = self._listen

    # A connection's life

    async def join(self, connection: Connection) -> bool:
        """Make the connection a member of its hub, in the order of the calls.

        False: it was ended before it was one. Frames for the hub reach it once its Join is on its way: a
        few may come before its `Joined` is handled.
        """
        connection.ended = self._ended
        self._clients += 1
        await self._entering.put(connection)
        if connection.joined is not None and await asyncio.shield(connection.joined) is Outcome.REPLACED:
            self._drop_replaced(connection)
        return connection.left is None

    async def _enter(self, connections: Sequence[Connection]) -> Sequence[None]:
        await self._start()
        await asyncio.gather(*(self.groups.enter(group_name(c.hub), self._process) for c in connections))
        for connection in connections:
            if connection.left is None:
                self.fanout.add(connection)
                connection.joined = self.outbox.put(connection.join_op(self._process))
            else:
                self.groups.leave(group_name(connection.hub), self._process)
        return [None] * len(connections)

    async def post(self, connection: Connection, data: str | bytes) -> bool:
        """Put a message into the hub's mailbox, in the order of the calls.

        Waits while the mailbox is full or the store can't be reached. False: the connection is no longer
        a member, and the message was not taken.
        """
        if connection.posting is None:
            connection.posting = asyncio.Lock()
        async with connection.posting:
            op = connection.post_op(data)
            while connection.left is None:
                match await self.outbox.put(op):
                    case Outcome.DONE:
                        connection.posted = op.number
                        return True
                    case Outcome.FULL:
                        await asyncio.sleep(_FULL)
                    case Outcome.UNKNOWN:
                        await self._join_again(connection)
                    case Outcome.REPLACED:
                        self._drop_replaced(connection)
            return False

    def leave(self, connection: Connection, departure: Departure) -> asyncio.Task[None]:
        """Take the connection out of its hub; its `Left` is posted once, however often this is called.

        The task is done when the store knows.
        """
        if connection.left is None:
            undelivered = connection.wire.abandon()
            self._clients -= 1
            if connection.joined is not None:
                self.fanout.remove(connection)
                self.groups.leave(group_name(connection.hub), self._process)
            connection.left = asyncio.create_task(self._leave(connection, departure, undelivered))
        return connection.left

    async def _leave(
        self, connection: Connection, departure: Departure, undelivered: list[str | bytes]
    ) -> None:
        if connection.joined is not None:
            # Its Join may be under way: the two never stand in one call (see the store's contract).
            await asyncio.wait([connection.joined])
            await self.outbox.put(connection.leave_op(departure, undelivered))
        if not self._clients:
            self._stop()

    def _ended(self, connection: Connection, departure: Departure) -> None:
        if departure.reason == "write":
            asyncio.get_running_loop().call_later(
                _WORD_OF_READER, self._leave_later, weakref.ref(connection), departure
            )
            return
        self.leave(connection, departure)
        connection.close(departure.code or 1011, departure.reason)

    def _leave_later(self, reference: weakref.ref[Connection], departure: Departure) -> None:
        connection = reference()
        if connection is not None:
            self.leave(connection, departure)

    def _close_replaced(self, hub: str, address: Address) -> None:
        frame = Close(CLOSE_REPLACED, "replaced")
        self.sender.post(address.process, Entry(hub, frame, Scope.ONLY, (address.connection,)))

    def _drop_replaced(self, connection: Connection) -> None:
        """Another connection has its client id: the store posted its Left, only the socket is to go."""
        self.leave(connection, Departure(reason="replaced"))
        connection.close(CLOSE_REPLACED, "replaced")

    async def _join_again(self, connection: Connection) -> None:
        outcome = await self.outbox.put(connection.join_op(self._process, again=True))
        if outcome is Outcome.REPLACED:
            self._drop_replaced(connection)

    # The relay's life

    async def beat(self) -> None:
        """Show that this process lives, and look after those that don't.

        Raises `Unavailable` when the store can't be reached.
        """
        if self._process and self.fanout and not await self.store.beat(self._process):
            logger.warning("This process was declared dead, or the store lost it; joining again")
            await asyncio.gather(*(self._join_again(c) for c in self.fanout if c.left is None))
        self.bells.ring(await self.store.reap())
        self.bells.ring(await self.store.unclaimed())

    async def idle(self) -> None:
        """Return when nothing is under way here, and no event waits for an embedded worker."""
        for part in (self._entering, self.outbox, self.bells, self.sender, self.groups, self.fanout):
            await part.idle()
        # Another loop or process may be the one that handles it: there is nothing to be woken by.
        while self._listeners and await self.store.waiting():  # noqa: ASYNC110
            await asyncio.sleep(_POLL)

    async def _start(self) -> None:
        if self._tasks:
            return
        if self._starting is None:
            self._starting = asyncio.create_task(self._started())
        await asyncio.shield(self._starting)

    async def _started(self) -> None:
        try:
            self._process = self._process or await self._layer.new_channel()
            await self.store.beat(self._process)
            self._tasks = [
                asyncio.create_task(pump(self._layer, self._process, self.fanout)),
                asyncio.create_task(self._beats()),
            ]
        finally:
            self._starting = None

    async def _beats(self) -> None:
        clock = asyncio.get_running_loop().time
        refresh_every = self._layer.group_expiry / 3
        refreshed = clock()
        while True:
            # Not all processes of a site at the same moment.
            await asyncio.sleep(self._settings.BEAT * random.uniform(0.8, 1.0))  # noqa: S311
            try:
                await self.beat()
                if clock() - refreshed > refresh_every:
                    refreshed = clock()
                    await self.groups.refresh(self._process)
            except Unavailable as error:
                logger.warning("No beat: %s", error)
            except Exception:
                logger.exception("A beat failed; the next one follows")

    def _listen(self, channel: str) -> None:
        if channel not in self._listeners:
            self._listeners[channel] = asyncio.create_task(listen(self._layer, channel))

    def _stop(self) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stopped())

    async def _stopped(self) -> None:
        """End what runs, once the last client is gone and what it left behind is handled."""
        try:
            await self.idle()
            while not self._clients and (tasks := [*self._tasks, *self._listeners.values()]):
                self._tasks = []
                self._listeners = {}
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
        finally:
            self._stopping = None

    async def close(self) -> None:
        """Return when the relay has stopped. For tests, and for the last client of a stopping server."""
        while self._stopping is not None:
            await asyncio.shield(self._stopping)


_relays: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Relay] = weakref.WeakKeyDictionary()


def get_relay() -> Relay:
    """The relay of the running loop."""
    loop = asyncio.get_running_loop()
    relay = _relays.get(loop)
    if relay is None:
        relay = _relays[loop] = Relay(get_layer(), get_store(), get_settings())
    return relay


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("DJANGO_HUB", "CHANNEL_LAYERS"):
        _relays.clear()


setting_changed.connect(_forget, dispatch_uid="django_hub.relay")
