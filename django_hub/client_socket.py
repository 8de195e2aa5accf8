"""Opening a websocket to a hub with the package ``websockets``. Imported when it is used, not before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from django_hub import closes
from django_hub.client_session import SUBPROTOCOL

# HTTP answers to a handshake after which another may go well.
_RETURNS = frozenset({408, 425, 429})
# Seconds. The protocol has its own heartbeats, and one that is silent is not worth a long farewell.
_FAREWELL = 1.0


async def opened(
    url: str, headers: Mapping[str, str], patience: float
) -> ClientConnection | tuple[int, str]:
    """A connection that speaks the subprotocol, or the close code and reason that stand for its failure."""
    try:
        socket = await connect(
            url,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
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
