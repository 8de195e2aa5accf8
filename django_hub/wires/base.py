"""The promise of a wire."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate
from operator import attrgetter
from typing import Any, Protocol, Self

from django_hub.messages import Close, Frame
from django_hub.wires import frames


class Outgoing:
    """Frames on their way to any number of clients: what a wire needs of them is made once, for all.

    Several go as one write where the wire can do that. A Close is always alone. ``key``: of a single one,
    what it is the newest of (see `Bounds.when_slow`).
    """

    def __init__(self, *given: Frame, key: str = "") -> None:
        self.frames = given
        self.key = key
        self.close = given[0] if isinstance(given[0], Close) else None
        self.several = len(given) > 1

    @classmethod
    def joined(cls, singles: Sequence[Outgoing]) -> Outgoing:
        """Those, as one. What was made of each is used again."""
        if len(singles) == 1:
            return singles[0]
        outgoing = cls(*(frame for single in singles for frame in single.frames))
        outgoing.__dict__["_singles"] = singles
        return outgoing

    @property
    def each(self) -> Sequence[Outgoing]:
        """One for each frame."""
        return self._singles if self.several else (self,)

    @cached_property
    def _singles(self) -> Sequence[Outgoing]:
        return [Outgoing(frame) for frame in self.frames]

    @cached_property
    def size(self) -> int:
        """How many bytes of payload it has."""
        return sum(map(_size, self.frames))

    @cached_property
    def framed(self) -> bytes:
        """The frames as bytes. Not of a Close: that is the server's to write, which must know of it."""
        return b"".join(frames.to_bytes(frame) for frame in self.frames if not isinstance(frame, Close))

    def rest(self, held: int) -> tuple[int, int]:
        """How many frames, and bytes of payload, are not gone when of `framed` so many bytes are held."""
        gone = bisect_right(self._ends, len(self.framed) - held)
        payload = self.size - (self._payload_ends[gone - 1] if gone else 0)
        return len(self.frames) - gone, min(payload, held)

    @cached_property
    def _ends(self) -> Sequence[int]:
        return list(accumulate(len(single.framed) for single in self.each))

    @cached_property
    def _payload_ends(self) -> Sequence[int]:
        return list(accumulate(single.size for single in self.each))

    @cached_property
    def asgi(self) -> dict[str, Any]:
        """The only frame as an ASGI message."""
        match self.frames[0]:
            case str(text):
                return {"type": "websocket.send", "text": text}
            case bytes(data):
                return {"type": "websocket.send", "bytes": data}
            case Close(code, reason):
                return {"type": "websocket.close", "code": code, "reason": reason}


def _size(frame: Frame) -> int:
    if isinstance(frame, Close):
        return len(frame.reason) + 2
    if isinstance(frame, str) and not frame.isascii():
        return len(frame.encode())
    return len(frame)


class Wire(Protocol):
    """One client's way out.

    Frames go out in the order of `write`, each once or, when the socket breaks, not at all. `write` never
    waits and never raises: a frame that can't go at once waits in the wire, and its owner is told by
    ``waits`` whenever more does. A broken socket is told to ``broken``, once. After a Close, and after a
    break, nothing more is written. ``latest``: of the messages that wait with the same key only the newest
    is written. ``dropped``: how many were not, for that or by `drop_oldest`.
    """

    broken: Callable[[BaseException], None]
    waits: Callable[[], None]
    latest: bool
    dropped: int

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait that are not known to be taken: by the kernel, or else by the server."""
        ...

    @property
    def waiting_frames(self) -> int: ...

    @property
    def closed(self) -> bool:
        """A Close was written or the socket broke."""
        ...

    @property
    def closed_by_us(self) -> bool:
        """A Close was written, and the socket did not break."""
        ...

    def write(self, outgoing: Outgoing) -> bool:
        """False: the wire is closed, the frames will never be written."""
        ...

    @classmethod
    def write_to_all(cls, wires: Iterable[Self], outgoing: Outgoing) -> None:
        """As `write` to each of them, which are all of this kind."""
        ...

    def drop_oldest(self) -> bool:
        """Drop the oldest message that waits, but never the newest. False: there is none to drop."""
        ...

    def abandon(self) -> list[str | bytes]:
        """Give up the messages that wait, and give them back, oldest first. But for a Close, nothing is
        written any more.

        What the server holds already, up to 64 KiB, is among them, though a client that goes on reading
        gets it.
        """
        ...

    async def drained(self) -> None:
        """Return when nothing waits: a server may end a connection whose application returns earlier."""
        ...

    def abort(self) -> bool:
        """End the socket at once, with all that the server holds for it. False: that can't be done here."""
        ...


class Unfamiliar(Exception):
    """A server's object lacks what a wire relies on: the text names it."""


def require(thing: object, names: Iterable[str]) -> None:
    """Raises `Unfamiliar` with the first of these dotted names that ``thing`` has not."""
    for name in names:
        try:
            attrgetter(name)(thing)
        except AttributeError:
            raise Unfamiliar(f"{type(thing).__name__}.{name}") from None
