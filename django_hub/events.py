"""Events: what happened to a hub's clients; and their only form outside of Python.

In a mailbox an event is a JSON array, its *body*: kind, the client's part, the time, and what that kind
adds. The client's part is encoded once a connection (`describe`), and a store can set it into a `Left`
it has to write by itself without reading it. The event's place in its mailbox (its id) is the store's.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast, get_args

from django_hub.exceptions import UnreadableEvent

Reason: TypeAlias = Literal["close", "read", "write", "replaced", "kicked", "slow", "lost", "shutdown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Happened:
    hub: str
    client_id: str
    user_id: str | None
    meta: dict[str, Any]
    id: int
    at: float
    presence: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(_Happened):
    """A client came into the hub. It stands before everything else of that connection.

    ``id`` is the event's place in the hub's mailbox: rising, and not used again for another event of this
    hub. A handler that must not act twice on an event (see `HubEvents`) remembers it.
    ``at`` is when it happened, in seconds since the epoch, by the clock of the process that saw it.
    ``presence``: the other clients are told of it, where they speak hub.v1. All events have these.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Message(_Happened):
    """A client said something: ``data`` is str for a text frame, bytes for a binary one.

    Of a client of ``hub.v1`` it is what stands in ``data``: a JSON string as the text it says, any other
    value as its JSON text. So ``5`` and ``"5"``, ``null`` and ``"null"`` are the same here, and `json`
    reads them as 5 and None: where that matters, have clients send an object.
    The messages of one connection come in the order in which the client sent them.
    ``request`` is the number the client gave it where it waits for a `reply`, else None.
    """

    data: str | bytes
    request: int | None = None
    #: How `reply` gets to the client: set by whoever hands the event to a handler.
    replies: _Replies | None = field(default=None, repr=False, compare=False)
    #: W3C's ``traceparent`` of the span under which it was posted; empty where nobody traced.
    trace: str = field(default="", repr=False, compare=False)

    async def reply(self, value: object) -> bool:
        """Answer a request: the client's promise gets ``value``, a JSON value, text or bytes.

        Once for each request: the client takes the first. False: nobody waits for it (it was no request,
        or its client is gone). A client whose connection breaks gets it when it is back.
        Raises `InvalidMessage` for what can't be sent, and above 16 MiB.
        """
        if self.request is None or self.replies is None:
            return False
        return await self.replies(self, value)

    def json(self) -> Any:
        """The data read as JSON. Raises `ValueError` where it is none, however it is broken."""
        try:
            return json.loads(self.data)
        except RecursionError:
            raise ValueError("The JSON text is nested too deeply.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Left(_Happened):
    """A client is gone: exactly one for each `Joined`, also when its process died.

    A client that may come back (see `Lost`) is gone when its time of grace is over.

    ``reason``: ``close`` (the socket was closed in order, by either side, with ``code``; some versions of
    uvicorn tell a broken connection so, with 1005), ``read`` (the connection broke, or the consumer
    failed: ``error`` says how), ``write`` (a frame could not be written),
    ``replaced`` (the same client id joined again), ``kicked``, ``slow`` (it did not take its frames in
    time), ``lost`` (its server process died), ``shutdown`` (its server was stopped).
    ``undelivered``: the messages that were waiting for this client and were not written, oldest first; the
    newest 256 KiB of them, where there were more (they are kept in the mailbox, once for each client).
    """

    reason: Reason
    code: int | None = None
    error: str | None = None
    undelivered: tuple[str | bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(_Happened):
    """A client's connection broke, and it may be back: `Resumed` follows, or `Left` when its grace is over.

    ``reason`` and ``code`` are those of `Left`: how the connection ended.
    """

    reason: Reason
    code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(_Happened):
    """A client is back on a new connection within its grace: the same member, whatever was lost between.

    It comes also without a `Lost`, where the new connection was there before the old one's end was seen.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Updated(_Happened):
    """A client's meta is another one: ``meta`` is the new, here and in all that follows of it."""


#: Sends a value to the client that made this request. False: it is gone.
_Replies: TypeAlias = Callable[[Message, object], Awaitable[bool]]

Event: TypeAlias = "Joined | Message | Left | Lost | Resumed | Updated"


def describe(client_id: str, user_id: str | None, meta: dict[str, Any], presence: bool = False) -> str:
    """The client's part of every body of one connection."""
    return _dump([client_id, user_id, meta, presence])[1:-1]


def read_description(who: str) -> tuple[str, str | None, dict[str, Any], bool]:
    """Client id, user id, meta and presence back from what `describe` made."""
    client_id, user_id, meta, presence = json.loads(f"[{who}]")
    return client_id, user_id, meta, presence


def joined_body(who: str, at: float) -> str:
    return f'["joined",{who},{at!r}]'


def message_body(
    who: str, at: float, data: str | bytes, request: int | None = None, trace: str = ""
) -> str:
    waits = "" if request is None else f",{request}"
    if trace:
        waits = f"{waits or ',null'},{_dump(trace)}"
    return f'["message",{who},{at!r},{_dump(_pack(data))}{waits}]'


def left_body(
    who: str,
    at: float,
    reason: Reason,
    code: int | None = None,
    error: str | None = None,
    undelivered: tuple[str | bytes, ...] = (),
) -> str:
    tail = _dump([reason, code, error, [_pack(data) for data in undelivered]])[1:-1]
    return f'["left",{who},{at!r},{tail}]'


def lost_body(who: str, at: float, reason: Reason, code: int | None = None) -> str:
    return f'["lost",{who},{at!r},{_dump([reason, code])[1:-1]}]'


def resumed_body(who: str, at: float) -> str:
    return f'["resumed",{who},{at!r}]'


def updated_body(who: str, at: float) -> str:
    return f'["updated",{who},{at!r}]'


def read_body(hub: str, position: int, body: str) -> Event:
    """The event of one entry in a mailbox. Raises `UnreadableEvent` for anything else."""
    try:
        match json.loads(body):
            case [
                str(kind),
                str(client_id),
                (str() | None) as user_id,
                dict(meta),
                bool(presence),
                (int() | float()) as at,
                *rest,
            ]:
                client = (hub, client_id, user_id, meta, position, at, presence)
                return _EVENTS[kind](client, *rest)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise UnreadableEvent(f"Not an event's body ({error}): {body!r:.120}") from error
    raise UnreadableEvent(f"Not an event's body: {body!r:.120}")


def read_beginning(body: str) -> list[object]:
    """The values at the beginning of a body whose end was cut off: at least the kind and the client's id. A
    text that was cut is the last of them, as far as it goes. Raises `UnreadableEvent` for anything else."""
    values: list[object] = []
    at = 1
    try:
        while True:
            value, at = _DECODER.raw_decode(body, at)
            values.append(value)
            at += 1
    except (ValueError, RecursionError):
        rest = body[at:]
    if rest.startswith('"'):
        # The cut may be within an escape of six characters, and two of them may be one letter.
        for end in range(len(rest), max(len(rest) - 12, 0), -1):
            try:
                text: str = json.loads(f'{rest[:end]}"')
                text.encode()
            except ValueError:
                continue
            values.append(text)
            break
    match values:
        case [str(kind), str(), *_] if body.startswith("[") and kind in _EVENTS:
            return values
    raise UnreadableEvent(f"Not the beginning of an event's body: {body!r:.120}")


_Client: TypeAlias = tuple[str, str, str | None, dict[str, Any], int, float, bool]
_COMMON = ("hub", "client_id", "user_id", "meta", "id", "at", "presence")


def _common(client: _Client) -> dict[str, Any]:
    return dict(zip(_COMMON, client, strict=True))


def _joined(client: _Client) -> Joined:
    return Joined(**_common(client))


def _message(client: _Client, data: object, request: object = None, trace: object = "") -> Message:
    # A bool is an int for Python, and none for a client.
    if request is not None and type(request) is not int:
        raise ValueError("a request's number is none")
    if not isinstance(trace, str):
        raise ValueError("a trace is no text")
    return Message(**_common(client), data=_unpack(data), request=request, trace=trace)


def _left(client: _Client, reason: object, code: object, error: object, undelivered: object) -> Left:
    match code, error, undelivered:
        case ((int() | None), (str() | None), list()) if reason in _REASONS:
            return Left(
                **_common(client),
                reason=cast(Reason, reason),
                code=code,
                error=error,
                undelivered=tuple(_unpack(data) for data in cast("list[object]", undelivered)),
            )
    raise ValueError("the fields of a Left have other types")


def _lost(client: _Client, reason: object, code: object) -> Lost:
    if reason in _REASONS and isinstance(code, int | None):
        return Lost(**_common(client), reason=cast(Reason, reason), code=code)
    raise ValueError("the fields of a Lost have other types")


def _resumed(client: _Client) -> Resumed:
    return Resumed(**_common(client))


def _updated(client: _Client) -> Updated:
    return Updated(**_common(client))


_EVENTS: dict[str, Callable[..., Event]] = {
    "joined": _joined,
    "message": _message,
    "left": _left,
    "lost": _lost,
    "resumed": _resumed,
    "updated": _updated,
}
_REASONS = get_args(Reason)
_DECODER = json.JSONDecoder()


def _dump(value: object) -> str:
    # ASCII only: a mailbox entry is then the same text in every store, whatever its encoding.
    return json.dumps(value, separators=(",", ":"))


def _pack(data: str | bytes) -> str | list[str]:
    return data if isinstance(data, str) else [base64.b64encode(data).decode("ascii")]


def _unpack(packed: object) -> str | bytes:
    match packed:
        case str():
            return packed
        case [str(text)]:
            return base64.b64decode(text, validate=True)
    raise ValueError(f"neither text nor packed bytes: {packed!r:.80}")
