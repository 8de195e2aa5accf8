"""Messages, and how they become frames.

A **message** is what an application sends: text, bytes, a JSON value or a close. A **frame** is that
message encoded for the wire, once, by the sender: `str` for a text frame, `bytes` for a binary one,
`Close` for a close. Encoding is where a bad message is found: in the caller, who can mend it, and never
in a writer, where it would cost other clients their socket.

ASGI has no message for ping and pong, so these can't be sent; servers send their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from django_hub import closes
from django_hub.exceptions import InvalidMessage
from django_hub.jsontext import JsonText

# A message is copied for the broker and for each server, and stands before all others on its way.
MOST_BYTES = 16 * 1024 * 1024
_ELSEWHERE = "Put it where clients can fetch it, and send them the address; or send it in parts."


@dataclass(frozen=True, slots=True)
class Json:
    """Any JSON value as a text frame: `Json([1, 2])`, `Json(None)`, `Json("text")`.

    A dict needs no wrapping.
    """

    value: Any


@dataclass(frozen=True, slots=True)
class Close:
    """Close the socket, with a code (1000, or 3000 to 4999 of your own) and a short reason.

    Frames sent before it go out first; those sent after it are not written.
    Daphne tells the client no reason over ASGI: rely on the code.
    """

    code: int = 1000
    reason: str = ""

    def shortened(self) -> Close:
        """The same with as much of the reason as a close frame has room for.

        Raises `InvalidMessage` where none can carry the code, or any of the reason.
        """
        if wrong := closes.complaint(self.code, self.reason):
            raise InvalidMessage(wrong)
        return Close(self.code, closes.shortened(self.reason))


Data = TypeVar("Data", bound="str | bytes")
Frame: TypeAlias = "str | bytes | Close"
Sendable: TypeAlias = "str | bytes | Mapping[str, Any] | Json | Close"


def encode(message: object, encoder: type[json.JSONEncoder] = json.JSONEncoder) -> Frame:
    """The frame of one message. Raises `InvalidMessage` (a TypeError) for what can't be sent."""
    match message:
        case str():
            return bounded(_utf8(message))
        case bytes():
            return bounded(message)
        case Mapping():
            return bounded(encode_json(message, encoder))
        case Json():
            return bounded(encode_json(message.value, encoder))
        case Close():
            if wrong := closes.complaint(message.code, message.reason, whole=True):
                raise InvalidMessage(wrong)
            return message
        case bytearray() | memoryview():
            return bounded(bytes(message))
        case list() | tuple():
            raise InvalidMessage(
                f"Expected one message; got a {type(message).__name__} of {len(message)}. "
                "Wrap it as Json([...]) to send it as a JSON array, or call once a message."
            )
    raise InvalidMessage(
        "A message is str (text), bytes (binary), dict or Json(value) (JSON), or Close(code, reason); "
        f"got {type(message).__name__}: {message!r:.80}."
    )


def encode_json(value: object, encoder: type[json.JSONEncoder] = json.JSONEncoder) -> JsonText:
    """``value`` as JSON text. Raises `InvalidMessage` where JSON has no such value.

    The keys of an object must be text: `json` would turn ``1`` into ``"1"`` without a word, and the
    receiver would look for a key that isn't there.
    """
    try:
        text = json.dumps(
            _plain(value), cls=encoder, allow_nan=False, ensure_ascii=False, separators=(",", ":")
        )
    except InvalidMessage:
        raise
    except RecursionError:
        raise InvalidMessage("The value can't be sent as JSON: it is nested too deeply.") from None
    except (TypeError, ValueError) as error:
        raise InvalidMessage(f"The value can't be sent as JSON: {error}.") from error
    return JsonText(_utf8(text))


_LEAVES = (str, int, float, type(None))


def _plain(value: object) -> object:
    """The value with dicts for all mappings, which are all that `json` knows; their keys are text."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InvalidMessage(
                    f"The keys of a JSON object are text; got {type(key).__name__}: {key!r:.80}. "
                    "Convert it with str()."
                )
        if type(value) is dict and all(isinstance(item, _LEAVES) for item in value.values()):
            return value
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [item if isinstance(item, _LEAVES) else _plain(item) for item in value]
    return value


def is_longer(data: str | bytes, most: int) -> bool:
    """Has it more than ``most`` bytes?"""
    if len(data) > most:
        return True
    # A character has at most 4 bytes: only long texts that are not ASCII have to be encoded to know.
    return (
        isinstance(data, str) and not data.isascii() and len(data) * 4 > most and len(data.encode()) > most
    )


def bounded(data: Data, most: int = MOST_BYTES, what: str = "A message", instead: str = _ELSEWHERE) -> Data:
    """``data`` as it is. Raises `InvalidMessage` where it has more than ``most`` bytes."""
    if is_longer(data, most):
        size = len(data.encode() if isinstance(data, str) else data)
        raise InvalidMessage(f"{what} has at most {most:,} bytes; got {size:,}. {instead}")
    return data


def _utf8(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidMessage(
                f"A text message must be writable as UTF-8; got a lone surrogate at {error.start}."
            ) from None
    return text
