"""Which wire a client gets."""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from django_hub.logs import get_logger
from django_hub.wires import daphne, inbox, uvicorn
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Unfamiliar, Wire
from django_hub.wires.sigterm import put_off_sigterm

logger = get_logger(__name__)

_Leave = Callable[[], Awaitable[None]]
_Drain = Callable[[], Awaitable[None]]

_SERVERS = {"daphne": daphne, "uvicorn": uvicorn}


class Wires:
    """Chooses wires for the clients of one relay; ``leave`` is called when their server ends.

    ``allowed``: the servers that may be gone past (DJANGO_HUB["WIRES"]). ``drain`` is called on SIGTERM,
    when the server has been made to take no more connections; it hears of SIGTERM when that is done.
    """

    def __init__(
        self, leave: _Leave, allowed: Collection[str] = tuple(_SERVERS), drain: _Drain | None = None
    ) -> None:
        self._leave = leave
        self._drain = drain
        self._allowed = allowed
        self._daphne_told = False
        self._unfamiliar: set[str] = set()

    def wire_for(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        context: contextvars.Context | None = None,
    ) -> Wire:
        """The wire that knows the server behind ``send``, or the one for any server.

        ``context`` is that in which ``send`` is called; None: a copy of the caller's.
        """
        own = _innermost(send)
        for name, server in _SERVERS.items():
            protocol = server.find_protocol(own)
            if protocol is None:
                continue
            if self._drain is not None:
                self._put_off_sigterm(self._drain, server.stop_listening)
                self._drain = None
            if server is daphne:
                self._tell_daphne(protocol)
                self._bound_inbox(protocol)
                send = daphne.open_door(protocol, send)
            if name in self._allowed:
                try:
                    wire: Wire = server.make(protocol, send, context)
                except Unfamiliar as missing:
                    self._warn(name, missing)
                else:
                    return wire
        return AsgiWire(send, context)

    def stops_reading(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> bool:
        """Does the server behind ``send`` stop reading a client whose application takes nothing?

        All do that are known, Daphne because `wire_for` makes it, which is to be called before.
        """
        protocol = daphne.find_protocol(_innermost(send))
        return protocol is None or inbox.find(protocol) is not None

    def _tell_daphne(self, protocol: Any) -> None:
        if not self._daphne_told:
            self._daphne_told = True
            daphne.before_shutdown(self._leave, protocol)

    def _put_off_sigterm(self, drain: _Drain, stop_listening: Callable[[Any], None]) -> None:
        async def work(handler: Any) -> None:
            stop_listening(handler)
            await drain()

        if not put_off_sigterm(work):
            logger.warning(
                "DRAIN has no effect: this thread hears no signals, as under runserver, or nobody listens "
                "to SIGTERM."
            )

    def _bound_inbox(self, protocol: Any) -> None:
        try:
            inbox.install(protocol)
        except Unfamiliar as missing:
            if "inbox" not in self._unfamiliar:
                self._unfamiliar.add("inbox")
                logger.warning(
                    "This daphne is not as expected: no %s. It can't be kept from reading clients whose "
                    "messages nobody takes; those that send on all the same are closed with 1013.",
                    missing,
                )

    def _warn(self, name: str, missing: Unfamiliar) -> None:
        if name not in self._unfamiliar:
            self._unfamiliar.add(name)
            logger.warning(
                "This %s is not as expected: no %s. Its clients get their frames through its own send(), "
                "which is slower; all else is the same.",
                name,
                missing,
            )


def _innermost(send: Any) -> Any:
    """The server's own `send`, behind Channels' session middleware."""
    # It nests a few deep; a ring of wrappers must not hang us.
    for _ in range(16):
        inner = getattr(getattr(send, "__self__", None), "real_send", None)
        if inner is None:
            break
        send = inner
    return send
