"""What a client of ``hub.v1`` keeps over its connections, without any input or output.

It says what to write, and makes of what was read what the program is to know. Frames and rules are those of
``docs/reference/protocol.md``.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from django_hub import closes
from django_hub.exceptions import HubError

SUBPROTOCOL = "hub.v1"
PING = '{"type":"ping"}'

# What the frames of the server must have. Other types may come with a later version; they are ignored.
_FIELDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "hello": {
        "client": str,
        "epoch": str,
        "seq": int,
        "direct": int,
        "recovered": str,
        "resumed": bool,
        "heartbeat": (int, float),
        "grace": (int, float),
        "token": str,
    },
    "reply": {"id": int},
    "ack": {"id": int},
    "refused": {"id": int, "code": int},
    "presence": {"seq": int, "event": str, "member": dict},
    "resync": {"epoch": str, "seq": int},
    "closing": {"code": int, "reconnect": bool},
}


class HubClosed(HubError):
    """The hub is closed. What it had not acknowledged may have been taken, or not."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(
            f"the hub is closed with {code}: {reason}" if reason else f"the hub is closed with {code}"
        )
        self.code = code
        self.reason = reason


class HubRefused(HubError):
    """The hub did not take this message, and never will: this client may not send (4403), or it is larger
    than the consumer's ``max_message_bytes`` (1009). Or it took this request, and its handler failed
    (1011). The client stays connected."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(
            f"the hub does not take it, with {code}: {reason}"
            if reason
            else f"the hub does not take it, with {code}"
        )
        self.code = code
        self.reason = reason


class HubQueueFull(HubError):
    """Too much waits for its acknowledgement; this message was not taken."""


class HubTimeout(HubError, TimeoutError):
    """No reply came in time. Whether the request was handled is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What the application sent: a JSON value, or bytes.

    A broadcast has a ``seq``, which rises; a message to this client alone a ``direct`` number, which rises;
    one with neither could be dropped, and is never recovered.
    """

    data: Any
    seq: int | None = None
    direct: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resync:
    """Messages were missed for good, here. Load the application's data anew; what follows is later."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """Another client of the hub. lost: its connection broke, and it may be back; gone: it has left."""

    client: str
    user: str | int | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    state: Literal["online", "lost", "gone"] = "online"


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceChange:
    """``event``: joined, left, updated, lost or resumed."""

    event: str
    member: Present


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


Item: TypeAlias = "Received | Resync | PresenceChange"
Frame: TypeAlias = "str | bytes"


def _newcomer() -> dict[str, Any]:
    """What it says until it has a token. The nonce stays until then: a try that came to nothing may yet be
    let in, and is the same client then."""
    return {"nonce": secrets.token_hex(16)}


class BadFrame(HubError, ValueError):
    """What the server sent is no ``hub.v1``. It may have been a message, so the server is asked again."""


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
        return _dump({"type": "connect", **self._known})

    def submit(self, kind: Literal["message", "request"], data: Any) -> int:
        """Keep a message until it is acknowledged; returns its number."""
        number = self._last + 1
        frame = _written({"type": kind, "id": number}, data)
        size = _size(frame)
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
        self._bytes -= _size(self._kept.pop(number, ""))

    def ping(self) -> None:
        """One is due: it goes before what waits."""
        self._ping = True

    def next_frame(self) -> Frame | None:
        """What is to be written next on this connection, after hello; None where all has been."""
        if self._ping:
            self._ping = False
            return PING
        while self._written < self._last:
            self._written += 1
            if (frame := self._kept.get(self._written)) is not None:
                return frame
        return None

    def read(self, frame: Frame) -> list[Hello | Reply | Ack | Turned | Item]:
        """What a frame of the server says, in order. Raises `BadFrame`."""
        fields = _read(frame)
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
                return [self._changed(fields["event"], _present(fields["member"]))]
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

    def _hello(self, fields: Mapping[str, Any]) -> list[Hello | Reply | Ack | Turned | Item]:
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
            if (size := _size(frame)) > self._largest
        ]
        for each in turned:
            self.forget(each.number)
        self._written = next(iter(self._kept), self._last + 1) - 1
        if isinstance(fields.get("presence"), list):
            self.presence = {member.client: member for member in map(_present, fields["presence"])}
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


def _present(member: Mapping[str, Any]) -> Present:
    try:
        return Present(**{name: member[name] for name in ("client", "user", "meta", "state")})
    except (KeyError, TypeError):
        raise BadFrame("a member without client, user, meta or state") from None


def _size(frame: Frame) -> int:
    return len(frame.encode() if isinstance(frame, str) else frame)


def _too_big(size: int, most: float) -> HubRefused:
    return HubRefused(
        closes.TOO_BIG,
        f"a message may have {most} bytes (max_message_bytes), with what is around it this one has {size}",
    )


def _written(head: Mapping[str, Any], data: Any) -> Frame:
    if isinstance(data, bytes | bytearray | memoryview):
        return _dump(head).encode() + b"\n" + bytes(data)
    if isinstance(data, str):
        data.encode()  # JSON could say half a character: the server takes no such text, and closes for good
    return _dump({**head, "data": data})


def _read(frame: Frame) -> dict[str, Any]:
    head, _, tail = frame.partition(b"\n") if isinstance(frame, bytes) else (frame, "", b"")
    try:
        fields = json.loads(head)
    except (ValueError, RecursionError):
        raise BadFrame("not JSON") from None
    if not isinstance(fields, dict) or not isinstance(fields.setdefault("type", "message"), str):
        raise BadFrame("not a JSON object with a type")
    for name, kind in _FIELDS.get(fields["type"], {}).items():
        if not isinstance(fields.get(name), kind):
            raise BadFrame(f"{fields['type']} without {name}")
    for name in ("seq", "direct", "max_bytes"):
        if type(fields.get(name, 0)) is not int:
            raise BadFrame(f"{name} is no whole number")
    if isinstance(frame, bytes):
        fields["data"] = tail
    elif fields["type"] in ("message", "reply") and "data" not in fields:
        raise BadFrame(f"{fields['type']} without data")
    return fields


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
