"""The frames of ``hub.v1`` as a client reads and writes them; the server's own are in ``envelopes``.

Specified in ``docs/reference/protocol.md``; this is the only code of the client that knows their form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from django_hub.client_items import Present
from django_hub.exceptions import HubError

SUBPROTOCOL = "hub.v1"
PING = '{"type":"ping"}'

Frame: TypeAlias = "str | bytes"

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


class BadFrame(HubError, ValueError):
    """What the server sent is no ``hub.v1``. It may have been a message, so the server is asked again."""


def connect(known: Mapping[str, Any]) -> str:
    return _dump({"type": "connect", **known})


def said(kind: str, number: int, data: Any) -> Frame:
    """A message or a request. Raises TypeError or ValueError for what JSON does not have."""
    head = {"type": kind, "id": number}
    if isinstance(data, bytes | bytearray | memoryview):
        return _dump(head).encode() + b"\n" + bytes(data)
    if isinstance(data, str):
        data.encode()  # JSON could say half a character: the server takes no such text, and closes for good
    return _dump({**head, "data": data})


def size(frame: Frame) -> int:
    return len(frame.encode() if isinstance(frame, str) else frame)


def read(frame: Frame) -> dict[str, Any]:
    """The fields of a frame of the server; bytes are its ``data``. Raises `BadFrame`."""
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


def present(member: Mapping[str, Any]) -> Present:
    """A member as the server shows it. Raises `BadFrame`."""
    try:
        return Present(**{name: member[name] for name in ("client", "user", "meta", "state")})
    except (KeyError, TypeError):
        raise BadFrame("a member without client, user, meta or state") from None


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
