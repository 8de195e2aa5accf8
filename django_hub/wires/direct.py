"""What the wires past a server's door have in common: frame bytes, straight onto the transport.

Only whole frames are handed over, and no more until the transport has held nothing: a frame is then
either all in the kernel, or in hand, or still here, where it is counted and can be given up. What a server
says by itself (pings, pongs, closes) goes to the same transport, and so does what another wire of the
socket writes (its client is in two hubs): it stands between frames, never in one. As long as the kernel
takes all, a write is one system call, with no coroutine and no task.

What is not for here goes through the door, as over ASGI: a Close, of which the server must know; a socket
whose handshake is not done; and one that is closed, for the server to say so.
"""

from __future__ import annotations

import contextvars
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Self

from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Outgoing
from django_hub.wires.queue import Latest, Queue

# What waited goes as one write of about so many bytes.
_AT_ONCE = 64 * 1024


class DirectWire(AsgiWire, ABC):
    """The hottest loop, `_put_to_all`, is each server's own: with no call but those it can't do without.

    A thousand clients' objects don't fit into a processor's cache, and this code not beside the kernel's:
    each attribute and each call costs several times what it does elsewhere.
    """

    # Whether frames may go straight: the handshake is done, nothing waits, no Close was written, and the
    # socket did not break. Of the server's own closes, and of what others write, it knows nothing.
    __slots__ = ("_straight",)

    def __init__(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        context: contextvars.Context | None = None,
    ) -> None:
        super().__init__(send, context)
        self._straight = False

    @classmethod
    def write_to_all(cls, wires: Iterable[Self], outgoing: Outgoing) -> None:
        if outgoing.close is None:
            cls._put_to_all(wires, outgoing)
        else:
            for wire in wires:
                wire.write(outgoing)

    # What each server's own wire knows

    @classmethod
    def _put_to_all(cls, wires: Iterable[Self], outgoing: Outgoing) -> None:
        """As `write` of these frames to each."""
        for wire in wires:
            wire.write(outgoing)

    @abstractmethod
    def _is_open(self) -> bool:
        """The handshake is done, and nobody has begun to close."""

    @abstractmethod
    def _put(self, data: bytes) -> int:
        """Give the transport all of it, to be kept there if the kernel won't have it. May raise.

        How many bytes it holds then, as `_held`.
        """

    @abstractmethod
    def _held(self) -> int:
        """How many bytes the transport holds: 0 when it is ready for more, and when it is lost."""

    @abstractmethod
    async def _room(self) -> None:
        """Return when the transport has held nothing, or is lost. Several wires may wait at once."""

    # What follows from it

    @property
    def waiting_bytes(self) -> int:
        hand = self._in_hand
        if hand is None or (held := self._held_for(hand)) is None:
            return super().waiting_bytes
        return super().waiting_bytes - hand.size + hand.rest(held)[1]

    @property
    def waiting_frames(self) -> int:
        hand = self._in_hand
        if hand is None or (held := self._held_for(hand)) is None:
            return super().waiting_frames
        return super().waiting_frames - len(hand.frames) + hand.rest(held)[0]

    def write(self, outgoing: Outgoing) -> bool:
        if not (self._task or self._closed or self._retired or outgoing.close) and self._is_open():
            try:
                held = self._put(outgoing.framed)
            except Exception as error:  # noqa: BLE001 (the socket is broken)
                self._break(outgoing, error)
                return False
            self._straight = True
            if held:
                self._hold(outgoing)
            return True
        self._straight = False
        return super().write(outgoing)

    def _hold(self, outgoing: Outgoing) -> None:
        """The transport has some of it yet."""
        self._straight = False
        self._wait(outgoing, self._emptied)
        self.waits()

    def _break(self, outgoing: Outgoing | None, error: BaseException) -> None:
        self._straight = False
        super()._break(outgoing, error)

    def abandon(self) -> list[str | bytes]:
        self._straight = False
        return super().abandon()

    def _call(self, outgoing: Outgoing) -> Awaitable[None]:
        if outgoing.close is None and self._is_open():
            return self._put_and_wait(outgoing)
        return self._through_door(outgoing)

    def _through_door(self, outgoing: Outgoing) -> Awaitable[None]:
        return self._send(outgoing.asgi)

    async def _put_and_wait(self, outgoing: Outgoing) -> None:
        self._put(outgoing.framed)
        await self._emptied()

    async def _emptied(self) -> None:
        # Once is enough: what the transport holds then is another wire's of the same socket.
        if self._held():
            await self._room()
        if not self._is_open():
            raise ConnectionResetError("the connection ended with messages under way")

    def _next(self, waiting: Queue | Latest) -> Outgoing:
        singles = [waiting.pop()]
        if singles[0].close is not None or not self._is_open():
            return singles[0]
        size = singles[0].size
        while waiting and waiting.oldest().close is None and size < _AT_ONCE:
            singles.append(waiting.pop())
            size += singles[-1].size
        return Outgoing.joined(singles)

    def _not_taken(self) -> Sequence[Outgoing]:
        hand = self._in_hand
        if hand is None or (held := self._held_for(hand)) is None:
            return super()._not_taken()
        return hand.each[len(hand.frames) - hand.rest(held)[0] :]

    def _held_for(self, hand: Outgoing) -> int | None:
        """What the transport holds, if that tells how much of this, in hand, the kernel took."""
        if hand.close is not None or self._broken or not self._is_open():
            return None
        return self._held()
