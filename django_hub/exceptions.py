"""What can go wrong, as a tree.

HubError
├── InvalidName        (ValueError)  a hub name, client id or key that can't be used
├── InvalidMessage     (TypeError)   a message that can't become a frame, or is too large
├── InvalidBound       (ValueError)  a limit or policy of a consumer that can't be one
├── UnreadableEvent    (ValueError)  an entry of a mailbox that is no event
├── Refused                          raised in a HubConsumer's hooks: close with this code
├── Damaged                          what the store has of one hub can't be used
└── Unavailable                      the store or the channel layer can't be reached now
"""

from __future__ import annotations

from django_hub import closes


class HubError(Exception):
    """The root of all that this package raises by itself."""


class InvalidName(HubError, ValueError):
    """A hub name, client id or key of a message that is empty, too long, no text, or has a NUL."""


class InvalidMessage(HubError, TypeError):
    """A message that can't become a frame, or has more than 16 MiB; or a meta that is no dict of JSON
    values, or has more than 64 KiB. Raised in the caller, before anybody is sent anything."""


class InvalidBound(HubError, ValueError):
    """A limit that is no number above 0, or a policy that does not exist."""


class UnreadableEvent(HubError, ValueError):
    """An entry of a mailbox that is no event of this version. It becomes a dead letter."""


class Refused(HubError):
    """Raise it in a hook of a `HubConsumer` to close the socket with a code and a reason of your own.

    ``code`` is a websocket close code; 4000 to 4999 are an application's own. Of a long ``reason`` the
    client gets the first 123 bytes. ``reconnect``: is a client of ``hub.v1`` to come back? None: as its
    code says (`docs/reference/protocol.md`).
    Raises `InvalidMessage` for a code or reason that no close frame can carry.
    """

    def __init__(self, code: int, reason: str = "", *, reconnect: bool | None = None) -> None:
        if wrong := closes.complaint(code, reason):
            raise InvalidMessage(wrong)
        super().__init__(f"refused with {code}: {reason}" if reason else f"refused with {code}")
        self.code = code
        self.reason = reason
        self.reconnect = reconnect


class Damaged(HubError):
    """What the store has of one hub can't be used: something else wrote over it. No other hub is concerned.

    Asking again does not help; a human must look at it.
    """


class Unavailable(HubError):
    """The store or the channel layer does not answer. Nothing is known of what was asked of it.

    Whoever gets it may ask again: every operation can be repeated (see `django_hub.stores.base`).
    """
