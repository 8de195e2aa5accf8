"""What a hub's client raises."""

from __future__ import annotations

from django_hub.exceptions import HubError


class HubClosed(HubError):
    """The hub is closed. What it had not acknowledged may have been taken, or not."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the hub is closed with {_told(code, reason)}")
        self.code = code
        self.reason = reason


class HubRefused(HubError):
    """The hub did not take this message, and never will: this client may not send (4403), or it is larger
    than the consumer's ``max_message_bytes`` (1009). Or it took this request, and its handler failed
    (1011). The client stays connected."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"the hub does not take it, with {_told(code, reason)}")
        self.code = code
        self.reason = reason


class HubQueueFull(HubError):
    """Too much waits for its acknowledgement; this message was not taken."""


class HubTimeout(HubError, TimeoutError):
    """No reply came in time. Whether the request was handled is not known."""


def _told(code: int, reason: str) -> str:
    return f"{code}: {reason}" if reason else str(code)
