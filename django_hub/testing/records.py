"""What was sent, as the one who sent it said it; and how it is compared and shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from django_hub.conf import get_settings
from django_hub.entries import Entry, Scope
from django_hub.exceptions import InvalidMessage
from django_hub.jsontext import JsonText
from django_hub.messages import Frame, Json, Sendable, encode

# Messages shown in an error: the newest.
_SHOWN = 20

#: What a test expects: a message as it is sent (`unittest.mock.ANY` may stand in it), or a function of one.
Expected: TypeAlias = "Sendable | Callable[[Any], object]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """A call of `hub_broadcast`. ``message``: str, bytes, dict, `Close`, or `Json` for other JSON values.

    ``only`` is None where it was not given; a condition is not told.
    """

    hub: str
    message: Any
    only: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    droppable: bool = False

    def __str__(self) -> str:
        only = "" if self.only is None else f", only={list(self.only)}"
        exclude = f", exclude={list(self.exclude)}" if self.exclude else ""
        return f"to hub {self.hub!r}: {self.message!r:.300}{only}{exclude}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message to one client, by `hub_send`, or by `Message.reply` where ``is_reply``."""

    hub: str
    client_id: str
    message: Any
    is_reply: bool = False

    def __str__(self) -> str:
        how = "reply to" if self.is_reply else "to"
        return f"{how} {self.client_id!r} in hub {self.hub!r}: {self.message!r:.300}"


def broadcast_of(entry: Entry, numbered: bool) -> Broadcast:
    return Broadcast(
        hub=entry.hub,
        message=_message_of(entry.frame),
        only=entry.ids if entry.scope is Scope.CLIENTS else None,
        exclude=entry.ids if entry.scope is Scope.EXCEPT else (),
        droppable=not numbered,
    )


def sent_of(entry: Entry, client_id: str) -> Sent:
    return Sent(
        hub=entry.hub, client_id=client_id, message=_message_of(entry.frame), is_reply=bool(entry.reply)
    )


def is_expected(message: Any, expected: Any) -> bool:
    if callable(expected):
        return bool(expected(message))
    if message == expected:
        return True
    try:
        # A date, for instance, is sent as the encoder writes it.
        return bool(message == _message_of(encode(expected, get_settings().encoder)))
    except InvalidMessage:
        return False  # with ANY in it, it can't be sent


def listed(title: str, records: Sequence[object]) -> str:
    """A part of an error; nothing where there is nothing to list."""
    if not records:
        return ""
    left_out = f"\n    (and {len(records) - _SHOWN} before)" if len(records) > _SHOWN else ""
    return f"\n{title}:{left_out}" + "".join(f"\n    {each}" for each in records[-_SHOWN:])


def _message_of(frame: Frame) -> Any:
    if type(frame) is not JsonText:
        return frame
    value = json.loads(frame)
    return value if isinstance(value, dict) else Json(value)
