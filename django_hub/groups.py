"""The groups this process's relay is in: one a hub that has local clients."""

from __future__ import annotations

import asyncio
import contextvars

from django_hub.backoff import waits
from django_hub.exceptions import Damaged, Unavailable
from django_hub.layers.base import Layer
from django_hub.logs import get_logger

logger = get_logger(__name__)


# Calls under way at the same time: a layer's pool has a hundred connections, and fails those who want more.
_AT_ONCE = 50


class _Group:
    __slots__ = ("added", "channel", "damage", "settling", "users")

    def __init__(self) -> None:
        #: Is the channel in the group? None: a call that changes it is under way.
        self.added: bool | None = False
        self.channel = ""
        #: Why it can't be changed at all.
        self.damage: Damaged | None = None
        self.users = 0
        self.settling: asyncio.Task[None] | None = None


class Groups:
    """Brings the layer's groups to what is wanted, one call a group at a time.

    A hub's last client may leave while its next one comes; two calls under way for one group could arrive
    in either order. So each group has at most one task, which goes on until what is equals what is wanted:
    to be in it as long as more have entered than left.
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._groups: dict[str, _Group] = {}
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def enter(self, group: str, channel: str) -> None:
        """Return when the channel is in the group. Each `enter` wants one `leave`, also when it fails.

        Raises `Damaged`.
        """
        state = self._groups.setdefault(group, _Group())
        state.users += 1
        state.channel = channel
        while not state.added:
            await asyncio.shield(self._settle(group, state))
            if state.damage is not None:
                raise state.damage

    def leave(self, group: str) -> None:
        """The channel will be out of the group soon, if this was the last that entered."""
        state = self._groups[group]
        state.users -= 1
        if not state.users:
            self._settle(group, state)

    async def refresh(self) -> None:
        """Add the channel to all its groups again: a layer forgets what is older than its group_expiry."""
        await asyncio.gather(*(self._refresh(group, state) for group, state in self._groups.items()))

    async def idle(self) -> None:
        """Return when all is as wanted."""
        while tasks := [state.settling for state in self._groups.values() if state.settling]:
            await asyncio.wait(tasks)

    async def _refresh(self, group: str, state: _Group) -> None:
        async with self._free:
            if state.users and state.added:
                await self._layer.group_add(group, state.channel)

    def _settle(self, group: str, state: _Group) -> asyncio.Task[None]:
        if state.settling is None:
            state.settling = asyncio.create_task(self._settled(group, state), context=contextvars.Context())
        return state.settling

    async def _settled(self, group: str, state: _Group) -> None:
        pauses = waits()
        state.damage = None
        try:
            while (wanted := state.users > 0) != state.added:
                state.added = None
                try:
                    async with self._free:
                        change = self._layer.group_add if wanted else self._layer.group_discard
                        await change(group, state.channel)
                except Unavailable as error:
                    logger.warning("Group %s waits: %s", group, error)
                    await asyncio.sleep(next(pauses))
                except Damaged as error:
                    state.damage = error
                    state.added = False
                    return
                except (Exception, asyncio.CancelledError):
                    if (task := asyncio.current_task()) is not None and task.cancelling():
                        raise
                    # Also where the layer cancelled a call of its own: who enters would go on outside.
                    logger.exception("The channel layer did not change group %s; trying again", group)
                    await asyncio.sleep(next(pauses))
                else:
                    state.added = wanted
        finally:
            state.settling = None
            if not (state.users or state.added):
                self._groups.pop(group, None)
