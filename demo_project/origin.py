"""Which pages may open a websocket here."""

from typing import Any
from urllib.parse import ParseResult, urlparse

from channels.security.websocket import OriginValidator, WebsocketDenier
from django.conf import settings


class AllowedHostsOrigin(OriginValidator):
    """Channels' check of the Origin against ``ALLOWED_HOSTS``, but the header may be missing.

    The check keeps a stranger's page from using a visitor's cookies, and browsers always send the
    header. A client without it is none: it holds nobody's cookies, and could write any origin.
    """

    def __init__(self, application: Any) -> None:
        allowed = settings.ALLOWED_HOSTS
        if settings.DEBUG and not allowed:
            allowed = ["localhost", "127.0.0.1", "[::1]"]
        super().__init__(application, allowed)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        # Channels lets an Origin that is no address ("http://[") end in a traceback.
        if not all(is_address(value) for name, value in scope.get("headers", []) if name == b"origin"):
            return await WebsocketDenier()(scope, receive, send)
        return await super().__call__(scope, receive, send)

    def valid_origin(self, parsed_origin: ParseResult | None) -> bool:
        return parsed_origin is None or bool(super().valid_origin(parsed_origin))


def is_address(origin: bytes) -> bool:
    """Whether the header can be read as an address at all, its port included."""
    try:
        _ = urlparse(origin.decode("latin1")).port
    except ValueError:
        return False
    return True
