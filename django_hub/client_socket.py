"""Opening a websocket to a hub with the package ``websockets``. Imported when it is used, not before."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from django_hub import closes
from django_hub.client_frames import SUBPROTOCOL

# HTTP answers to a handshake after which another may go well.
_RETURNS = frozenset({408, 425, 429})
# Seconds. The protocol has its own heartbeats, and one that is silent is not worth a long farewell.
_FAREWELL = 1.0
# As a subprotocol it is a token of HTTP; a page that asks to log in is none.
_TICKET = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


async def opened(
    url: str, headers: Mapping[str, str], ticket: Callable[[], Awaitable[str]] | None, patience: float
) -> ClientConnection | tuple[int, str]:
    """A connection that speaks the subprotocol, or the close code and reason that stand for its failure."""
    protocols = [Subprotocol(SUBPROTOCOL)]
    if ticket is not None:
        try:
            async with asyncio.timeout(patience):
                protocols.append(Subprotocol(f"hub.ticket.{_checked(await ticket())}"))
        except Exception as error:  # noqa: BLE001 (the program's own way to its site; the next try may go well)
            return closes.BROKEN, f"no ticket came: {error!r}"
    if not any(name.lower() == "origin" for name in headers):
        headers = {**headers, "Origin": _origin(url)}
    try:
        socket = await connect(
            url,
            subprotocols=protocols,
            additional_headers=headers,
            open_timeout=patience,
            ping_interval=None,
            close_timeout=_FAREWELL,
            max_size=None,
        )
    except InvalidStatus as error:
        status = error.response.status_code
        refused = 400 <= status < 500 and status not in _RETURNS
        return (closes.FORBIDDEN if refused else closes.BROKEN), f"HTTP status {status}"
    except (OSError, EOFError, InvalidHandshake) as error:
        return closes.BROKEN, repr(error)
    if socket.subprotocol != SUBPROTOCOL:
        await closed(socket, 1000, "")
        return closes.UNKNOWN_SUBPROTOCOL, f"the server does not speak {SUBPROTOCOL}"
    return socket


def _checked(ticket: object) -> str:
    if not isinstance(ticket, str) or not _TICKET.fullmatch(ticket):
        raise ValueError(f"a ticket is what the server's hub_ticket returns; got {ticket!r:.80}")
    return ticket


def _origin(url: str) -> str:
    """Of the pages that are served where ``url`` is."""
    parts = urlsplit(url)
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc.rpartition('@')[2]}"


async def closed(socket: ClientConnection, code: int, reason: str) -> None:
    """Say so to the server, and be rid of the socket: within a second, at once where this is cancelled."""
    try:
        # The time-out of `close` begins when its frame is written: on a dead line it never is.
        async with asyncio.timeout(_FAREWELL):
            await socket.close(code, reason)
    except TimeoutError:
        pass
    finally:
        socket.transport.abort()
