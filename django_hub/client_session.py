"""What a client of ``hub.v1`` keeps over its connections, without any input or output.

It says what to write, and makes of what was read what the program is to know. Its rules are those of
``docs/reference/protocol.md``.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from django_hub import client_frames, closes
from django_hub.client_errors import HubClosed, HubQueueFull, HubRefused
from django_hub.client_frames import Frame
from django_hub.client_items import Item, PresenceChange, Present, Received, Resync


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    heartbeat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    number: int
    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """Turned away: neither it nor a copy of it will be taken."""

    number: int
    error: HubRefused


Told: TypeAlias = "Hello | Reply | Ack | Turned | Item"


def _newcomer() -> dict[str, Any]:
    """What it says until it has a token. The nonce stays until then: a try that came to nothing may yet be
    let in, and is the same client then."""
    return {"nonce": secrets.token_hex(16)}


class Session:
    """Numbers, token, presence, and what the hub has not acknowledged yet."""

    def __init__(self, max_queue: int = 1000, max_queue_bytes: int = 2**20) -> None:
        self.max_queue = max_queue
        self.max_queue_bytes = max_queue_bytes
        self.client: str | None = None
        #: It was refused for want of room: it is to take its time.
        self.crowded = False
        #: For so many seconds the server keeps its place when it is away.
        self.grace = 0.0
        self.presence: dict[str, Present] = {}
        self._known: dict[str, Any] = _newcomer()
        self._last = 0
        self._kept: dict[int, Frame] = {}
        self._bytes = 0
        self._largest: float = math.inf
        #: The last that was written on this connection.
        self._written = 0
        self._ping = False
        self._closing: dict[str, Any] | None = None

    def connect(self) -> str:
        """The first frame of a new connection."""
        self._closing = None
        self._ping = False
        return client_frames.connect(self._known)

    def submit(self, kind: Literal["message", "request"], data: Any) -> int:
        """Keep a message until it is acknowledged; returns its number."""
        number = self._last + 1
        frame = client_frames.said(kind, number, data)
        size = client_frames.size(frame)
        if size > self._largest:
            raise _too_big(size, self._largest)
        if len(self._kept) >= self.max_queue or self._bytes + size > self.max_queue_bytes:
            raise HubQueueFull(
                f"{len(self._kept)} messages of {self._bytes} bytes wait for the hub, this one has {size}; "
                f"max_queue is {self.max_queue}, max_queue_bytes {self.max_queue_bytes}: await each send()"
            )
        self._last = number
        self._bytes += size
        self._kept[number] = frame
        return number

    def forget(self, number: int) -> None:
        """Nobody waits for this one any more; it is not sent (again)."""
        self._bytes -= client_frames.size(self._kept.pop(number, ""))

    def ping(self) -> None:
        """One is due: it goes before what waits."""
        self._ping = True

    def next_frame(self) -> Frame | None:
        """What is to be written next on this connection, after hello; None where all has been."""
        if self._ping:
            self._ping = False
            return client_frames.PING
        while self._written < self._last:
            self._written += 1
            if (frame := self._kept.get(self._written)) is not None:
                return frame
        return None

    def read(self, frame: Frame) -> list[Told]:
        """What a frame of the server says, in order. Raises `BadFrame`."""
        fields = client_frames.read(frame)
        match fields["type"]:
            case "hello":
                return self._hello(fields)
            case "closing":
                self._closing = fields
            case "ack":
                for number in [n for n in self._kept if n <= fields["id"]]:
                    self.forget(number)
                return [Ack(number=fields["id"])]
            case "refused" if self._is_new(fields):
                self.forget(fields["id"])
                error = HubRefused(fields["code"], str(fields.get("reason", "")))
                return [Turned(number=fields["id"], error=error)]
            case "resync":
                self._known |= {"epoch": fields["epoch"], "seq": fields["seq"]}
                return [Resync(reason=str(fields.get("reason", "")))]
            case "message" if self._is_new(fields):
                data = fields.get("data")
                return [Received(data=data, seq=fields.get("seq"), direct=fields.get("direct"))]
            case "reply" if self._is_new(fields):
                self.forget(fields["id"])
                return [Reply(number=fields["id"], data=fields.get("data"))]
            case "presence" if self._is_new(fields):
                return [self._changed(fields["event"], client_frames.present(fields["member"]))]
        return []

    def ended(self, code: int, reason: str) -> tuple[HubClosed, bool]:
        """The connection ended so: what that means, and whether the client is to return."""
        if self._closing is not None:
            code, reason = self._closing["code"], str(self._closing.get("reason", ""))
            again = self._closing["reconnect"]
        else:
            again = code in closes.RETURNING and (code != closes.BAD_TOKEN or "token" in self._known)
        self.crowded = code in closes.CROWDED
        if again and code == closes.BAD_TOKEN:
            # A new client then; it can still have the hub's broadcasts that it missed.
            heard = {name: self._known[name] for name in ("epoch", "seq") if name in self._known}
            self._known = _newcomer() | heard
        return HubClosed(code, reason), again

    def _hello(self, fields: Mapping[str, Any]) -> list[Told]:
        seq, direct = fields["seq"], fields["direct"]
        if fields["recovered"] == "yes":
            # What was missed is still to come: until it has, this client has only what it had.
            seq = min(seq, self._known.get("seq", seq))
            if fields["resumed"]:
                direct = min(direct, self._known.get("direct", direct))
        self._known = {"token": fields["token"], "epoch": fields["epoch"], "seq": seq, "direct": direct}
        self.client = fields["client"]
        self.grace = fields["grace"]
        # The server would close for good with one that is larger, as often as it comes.
        self._largest = fields.get("max_bytes", math.inf)
        turned = [
            Turned(number=number, error=_too_big(size, self._largest))
            for number, frame in self._kept.items()
            if (size := client_frames.size(frame)) > self._largest
        ]
        for each in turned:
            self.forget(each.number)
        self._written = next(iter(self._kept), self._last + 1) - 1
        if isinstance(fields.get("presence"), list):
            self.presence = {
                member.client: member for member in map(client_frames.present, fields["presence"])
            }
        hello = Hello(heartbeat=fields["heartbeat"])
        missed = Resync(reason="what was missed is no longer kept")
        return [hello, *turned, missed] if fields["recovered"] == "no" else [hello, *turned]

    def _is_new(self, fields: Mapping[str, Any]) -> bool:
        for log in ("seq", "direct"):
            number = fields.get(log)
            if number is None:
                continue
            if number <= self._known.get(log, 0):
                return False
            self._known[log] = number
        return True

    def _changed(self, event: str, member: Present) -> PresenceChange:
        if event == "left":
            self.presence.pop(member.client, None)
        else:
            self.presence[member.client] = member
        return PresenceChange(event=event, member=member)


def _too_big(size: int, most: float) -> HubRefused:
    return HubRefused(
        closes.TOO_BIG,
        f"a message may have {most} bytes (max_message_bytes), with what is around it this one has {size}",
    )
