"""The way from senders to relays inside one process, in place of the in-memory channel layer's.

That one walks all groups with every broadcast (13 ms with 20,000 hubs), drops what exceeds a channel's
100 messages without a word, and wakes nobody who waits on another loop. Here a parcel is handed to the
relays of its hub as it is; a sender waits while a relay has too much to do; loops and threads may be any.
On one loop, which is the rule, an entry goes straight to its relays' fan-out: what a client says in one
read of its socket is then there together, and goes to each client as one write.

Events channels stay the in-memory layer's: the project's own messages to them arrive there.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import uuid
from collections import deque
from typing import Any

from django_hub.entries import Entry
from django_hub.layers.base import Taker, Target

# Parcels that may wait for one relay before those who send wait too.
_WAITING = 64
_PREFIX = "relay!"


class _Tray:
    """The parcels for one relay, on its loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._parcels: deque[dict[str, Any]] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._dropped = False
        self.taker: Taker | None = None

    def drop(self) -> None:
        """Nobody takes any more. Called on the tray's own loop."""
        self._dropped = True
        self._parcels.clear()
        self._emptied.set()

    @property
    def takes_now(self) -> bool:
        """Its relay is on the running loop, has room, and nothing is on its way there by another one."""
        return (
            self.loop is asyncio.get_running_loop()
            and self.taker is not None
            and not (self._parcels or self._dropped or self.taker.is_full)
        )

    async def take(self) -> dict[str, Any]:
        while not self._parcels:
            self._filled.clear()
            await self._filled.wait()
        self._emptied.set()
        return self._parcels.popleft()

    def add(self, parcel: dict[str, Any]) -> None:
        if not self._dropped:
            self._parcels.append(parcel)
            self._filled.set()

    async def put(self, parcel: dict[str, Any]) -> None:
        self.add(parcel)
        while len(self._parcels) > _WAITING:
            self._emptied.clear()
            await self._emptied.wait()


class Exchange:
    """Which relay of this process is in which group. One a process; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trays: dict[str, _Tray] = {}
        self._groups: dict[str, dict[str, None]] = {}

    def new_channel(self) -> str:
        """A channel for the relay of the running loop."""
        channel = _PREFIX + uuid.uuid4().hex
        with self._lock:
            self._trays[channel] = _Tray()
        return channel

    def knows(self, channel: str) -> bool:
        return channel.startswith(_PREFIX)

    def drop_channel(self, channel: str) -> None:
        """Drop what waits for the channel and what comes. Called on the loop of its relay."""
        with self._lock:
            tray = self._trays.pop(channel, None)
        if tray is not None:
            tray.drop()

    def group_add(self, group: str, channel: str) -> None:
        with self._lock:
            self._groups.setdefault(group, {})[channel] = None

    def group_discard(self, group: str, channel: str) -> None:
        with self._lock:
            channels = self._groups.get(group, {})
            channels.pop(channel, None)
            if not channels:
                self._groups.pop(group, None)

    def taken_by(self, channel: str, taker: Taker) -> None:
        """What is handed over to the channel goes to ``taker``. Called on the loop of its relay."""
        with self._lock:
            self._trays[channel].taker = taker

    def hand_over(self, target: Target, entry: Entry) -> bool:
        """Give it to all relays there, where each can take it now. False: nobody got it.

        So also where there is none: a sender that never waits for anything would let nobody else run.
        """
        with self._lock:
            channels = self._groups.get(target.name, ()) if target.is_group else (target.name,)
            trays = [self._trays[channel] for channel in channels if channel in self._trays]
        if not trays or not all(tray.takes_now for tray in trays):
            return False
        for tray in trays:
            if tray.taker is not None:
                tray.taker.put((entry,))
        return True

    async def receive(self, channel: str) -> dict[str, Any]:
        with self._lock:
            tray = self._trays[channel]
        return await tray.take()

    async def send(self, channel: str, parcel: dict[str, Any]) -> None:
        with self._lock:
            tray = self._trays.get(channel)
        if tray is None or tray.loop.is_closed():
            return
        if tray.loop is asyncio.get_running_loop():
            await tray.put(parcel)
        elif not tray.loop.is_running():
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                tray.loop.call_soon_threadsafe(tray.add, parcel)
        else:
            there = asyncio.run_coroutine_threadsafe(tray.put(parcel), tray.loop)
            await asyncio.wrap_future(there)

    def channels(self, group: str) -> list[str]:
        """Those in a group, in the order in which they came."""
        with self._lock:
            return list(self._groups.get(group, ()))
