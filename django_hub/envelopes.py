"""The frames of the subprotocol ``hub.v1``: what is around a message on its way to and from a client.

Specified in ``docs/reference/protocol.md``; this is the only code of the server that knows its form. A
broadcast's envelope is the same for every client, so it is made once for all of them.

A text frame is a JSON object. A binary one is such an object, a newline, and the message's bytes. One that
does not name its type is a message: what is sent by the thousand carries nothing that it need not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from django_hub import closes
from django_hub.entries import Entry, Kind
from django_hub.jsontext import JsonText
from django_hub.messages import Close

SUBPROTOCOL = "hub.v1"

# Times a thousand it is still a whole number in JavaScript, and in the scripts of Redis.
_LARGEST = 2**43 - 1

# Characters: 22 of base64 are 128 bits.
_NONCE = (22, 200)

Recovered: TypeAlias = Literal["yes", "no", "new"]
Data: TypeAlias = "str | bytes"


class NotSpoken(ValueError):
    """What a client sent is none of its frames. The text is for the client."""


# From the server


def hello(**fields: Any) -> str:
    return _dump({"type": "hello", **fields})


def message(data: Data, *, seq: int = 0, direct: int = 0) -> Data:
    """A broadcast with its ``seq``, a direct message with its number, or a droppable one with none."""
    return _with_data([], data, seq=seq, direct=direct)


def reply(request: int, data: Data, *, direct: int = 0) -> Data:
    return _with_data(['"type":"reply"'], data, id=request, direct=direct)


def of(entry: Entry) -> Data:
    """The envelope of any entry but a Close."""
    frame = entry.frame
    if isinstance(frame, Close):
        raise TypeError("A Close has no envelope: it goes behind `closing`.")
    if entry.kind is Kind.PRESENCE:
        return presence(str(frame), entry.seq)
    if entry.kind is Kind.RESYNC:
        return resync(entry.epoch, entry.seq, "what came before this number can't be had any more")
    if entry.kind is Kind.FAILED:
        return refused(entry.reply, closes.FAILED, str(frame), direct=entry.seq)
    if entry.epoch:
        return message(frame, seq=entry.seq)
    if entry.reply:
        return reply(entry.reply, frame, direct=entry.seq)
    return message(frame, direct=entry.seq)


def presence(change: str, seq: int) -> str:
    """``change`` is what `presence_change` made."""
    return f'{{"type":"presence","seq":{seq},{change[1:]}'


def presence_change(event: str, member: Mapping[str, Any]) -> JsonText:
    return JsonText(_dump({"event": event, "member": member}))


def ack(number: int) -> str:
    return f'{{"type":"ack","id":{number}}}'


def resync(epoch: str, seq: int, reason: str) -> str:
    return _dump({"type": "resync", "epoch": epoch, "seq": seq, "reason": reason})


def refused(number: int, code: int, reason: str, *, direct: int = 0) -> str:
    numbers = {"id": number, "direct": direct} if direct else {"id": number}
    return _dump({"type": "refused", **numbers, "code": code, "reason": reason})


def closing(close: Close, reconnect: bool | None = None) -> str:
    """``reconnect`` None: as its code says."""
    if reconnect is None:
        reconnect = close.code in closes.RETURNING
    return _dump({"type": "closing", "code": close.code, "reason": close.reason, "reconnect": reconnect})


PONG = '{"type":"pong"}'


def returns_after(code: int | None) -> bool:
    """Does a client whose socket ended with this code come back by itself?

    1001 is said by both sides, and by a browser when its page goes: from a client it is an end.
    """
    return code is None or (code in closes.RETURNING and code != closes.GOING_AWAY)


def data_of(frame: Data) -> Data | None:
    """The application's data in an envelope of a message, as it was sent; None for any other frame."""
    if isinstance(frame, bytes):
        return frame.partition(b"\n")[2]
    fields = json.loads(frame)
    if fields.get("type", "message") not in ("message", "reply"):
        return None
    data = fields["data"]
    return data if isinstance(data, str) else _dump(data)


# From the client


@dataclass(frozen=True, slots=True)
class Connect:
    """The first frame. ``token``, and what it heard last, where it returns. ``nonce``: a secret of its own,
    the same with each try, where it has no token."""

    token: str | None = None
    epoch: str | None = None
    seq: int = 0
    direct: int = 0
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A message or, where ``wants_reply``, a request."""

    id: int
    data: Data
    wants_reply: bool


@dataclass(frozen=True, slots=True)
class Ping:
    """Shows that the client is there."""


FromClient: TypeAlias = "Connect | Said | Ping"


def read(frame: Data) -> FromClient:
    """What a client sent. Raises `NotSpoken` with what is wrong."""
    head, _, _ = frame.partition(b"\n") if isinstance(frame, bytes) else (frame, "", "")
    try:
        fields = _decoder.decode(head.decode() if isinstance(head, bytes) else head)
    except (ValueError, RecursionError):
        raise NotSpoken("not JSON") from None
    if not isinstance(fields, dict):
        raise NotSpoken("not a JSON object")
    match fields.get("type", "message"):
        case "message" | "request" as kind:
            if isinstance(frame, str):
                if "data" not in fields:
                    raise NotSpoken(f"a {kind} without data")
                value = fields["data"]
                data: Data = _text(value) if isinstance(value, str) else _dump(value)
            else:
                data = frame[len(head) + 1 :]
            return Said(_number(fields, "id", 1), data, kind == "request")
        case "ping":
            return Ping()
        case "connect":
            nonce = _optional_text(fields, "nonce")
            if nonce is not None and not _NONCE[0] <= len(nonce) <= _NONCE[1]:
                raise NotSpoken(f"nonce has {_NONCE[0]} to {_NONCE[1]} characters; got {len(nonce)}")
            return Connect(
                token=_optional_text(fields, "token"),
                epoch=_optional_text(fields, "epoch"),
                seq=_number(fields, "seq"),
                direct=_number(fields, "direct"),
                nonce=nonce,
            )
        case other:
            raise NotSpoken(f"unknown type {other!r:.40}")


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _finite(number: str) -> float:
    value = float(number)
    return value if math.isfinite(value) else _no_number(number)


# `json` takes NaN and Infinity, and reads 1E400 as one; none of them could be written again.
_decoder = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)


def _number(fields: Mapping[str, Any], name: str, least: int = 0) -> int:
    number = fields.get(name, 0)
    if type(number) is not int or not least <= number <= _LARGEST:
        raise NotSpoken(f"{name} is a whole number from {least}; got {number!r:.40}")
    return number


def _optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    text = fields.get(name)
    if text is not None and not isinstance(text, str):
        raise NotSpoken(f"{name} is text; got {text!r:.40}")
    return text


def _text(text: str) -> str:
    # JSON can say half a character ("\ud800"), which no store and no frame can carry.
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise NotSpoken("data with a lone surrogate") from None
    return text


def _with_data(head: list[str], data: Data, **numbers: int) -> Data:
    fields = head + [f'"{name}":{n}' for name, n in numbers.items() if n]
    if isinstance(data, bytes):
        return f"{{{','.join(fields)}}}\n".encode() + data
    fields.append(f'"data":{data if isinstance(data, JsonText) else _quoted(data)}')
    return f"{{{','.join(fields)}}}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _dump(value: object) -> str:
    # ASCII: half a character inside a value stays as it was written.
    return json.dumps(value, separators=(",", ":"))
