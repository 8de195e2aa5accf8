"""The promise of a wire."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

from django_hub.messages import Close, Frame


class Outgoing:
    """A frame on its way to any number of clients: what a wire needs of it is made once, for all."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    @cached_property
    def size(self) -> int:
        """How many bytes of payload it has."""
        if isinstance(self.frame, Close):
            return len(self.frame.reason) + 2
        if isinstance(self.frame, str) and not self.frame.isascii():
            return len(self.frame.encode())
        return len(self.frame)

    @cached_property
    def asgi(self) -> dict[str, Any]:
        """The frame as an ASGI message."""
        match self.frame:
            case str():
                return {"type": "websocket.send", "text": self.frame}
            case bytes():
                return {"type": "websocket.send", "bytes": self.frame}
            case Close(code, reason):
                return {"type": "websocket.close", "code": code, "reason": reason}


class Wire(Protocol):
    """One client's way out.

    Frames go out in the order of `write`, each once or, when the socket breaks, not at all. `write` never
    waits and never raises: a frame that can't go at once waits in the wire, and a broken socket is told
    to ``broken`` (set by the owner), once. After a Close, and after a break, nothing more is written.
    """

    broken: Callable[[BaseException], None]

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait that the server has not taken yet."""
        ...

    @property
    def waiting_frames(self) -> int: ...

    @property
    def closed(self) -> bool:
        """A Close was written or the socket broke."""
        ...

    def write(self, outgoing: Outgoing) -> bool:
        """False: the wire is closed, the frame will never be written."""
        ...

    def abandon(self) -> list[str | bytes]:
        """Give up the messages that wait, and give them back, oldest first. A Close still goes out."""
        ...

    async def drained(self) -> None:
        """Return when nothing waits: a server may end a connection whose application returns earlier."""
        ...
