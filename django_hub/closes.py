"""The close codes of a hub's sockets. What each means to a client is in ``docs/promises.md``, and in
``docs/reference/protocol.md`` for those that speak ``hub.v1``."""

from __future__ import annotations

from typing import Final

# RFC 6455, 7.4.1, and the IANA registry it made.
GOING_AWAY: Final = 1001
BROKEN: Final = 1006
TOO_BIG: Final = 1009
FAILED: Final = 1011
SERVICE_RESTART: Final = 1012
TRY_AGAIN_LATER: Final = 1013

# Ours. The last two digits are those of the HTTP status that says nearly the same.
SLOW: Final = 4008
BAD_REQUEST: Final = 4400
BAD_TOKEN: Final = 4401
FORBIDDEN: Final = 4403
UNKNOWN_SUBPROTOCOL: Final = 4406
SILENT: Final = 4408
REPLACED: Final = 4409
DESTROYED: Final = 4410
TOO_MANY: Final = 4429
# No status says these; they stand behind the one that is nearest.
TOO_MANY_OF_USER: Final = 4430
TOO_MANY_OF_ADDRESS: Final = 4431
TOO_MANY_JOINS: Final = 4432
HUB_FULL: Final = 4433
TOO_MANY_HUBS: Final = 4434

# RFC 6455, 7.4: the codes an endpoint may put into a close frame; and the reason's room there.
_SENDABLE: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})
_REASON_BYTES: Final = 123

#: There is no room now. Who comes back at once makes it worse: a client takes its time.
CROWDED: Final = frozenset({TOO_MANY_OF_USER, TOO_MANY_OF_ADDRESS, TOO_MANY_JOINS, HUB_FULL, TOO_MANY_HUBS})

#: After these a client comes back by itself: what went wrong is not for good, or is not known.
RETURNING: Final = frozenset(
    {
        GOING_AWAY,
        1005,
        BROKEN,
        FAILED,
        SERVICE_RESTART,
        TRY_AGAIN_LATER,
        1014,
        SLOW,
        BAD_TOKEN,
        SILENT,
        TOO_MANY,
        *CROWDED,
    }
)


def complaint(code: object, reason: object, *, whole: bool = False) -> str | None:
    """Why a close frame can't carry these; None: it can. ``whole``: not only as much as fits."""
    if type(code) is not int or code not in _SENDABLE:
        return f"A close code is one of RFC 6455, or 3000 to 4999 of your own; got {code!r:.80}."
    try:
        if isinstance(reason, str) and (len(reason.encode()) <= _REASON_BYTES or not whole):
            return None
    except UnicodeEncodeError as error:
        return f"A close reason is text that is writable as UTF-8; got a lone surrogate at {error.start}."
    return f"A close reason is text of at most {_REASON_BYTES} bytes; got {reason!r:.80}."


def shortened(reason: str) -> str:
    """As much of it as a close frame has room for."""
    return reason.encode()[:_REASON_BYTES].decode(errors="ignore")
