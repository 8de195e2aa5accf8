"""The wire for Daphne: frame bytes onto the client's socket, past Autobahn and Twisted.

While Twisted holds nothing for a client, a frame goes to the kernel by a `send` of the socket itself: no
turn of the reactor, no copy. What the kernel does not take is given to Twisted, and nothing more by this
wire until Twisted is rid of it; it tells so to a pull producer, its own interface for that. Under TLS all
goes through Twisted, whose TLS has a buffer that nobody can see into; there it holds up to 64 KiB.

Daphne's door (its ASGI `send`) refuses every close code but 1000 and 3000 to 4999 (Autobahn's rule for
applications), drops the reason of a close, drops empty messages, and says nothing of messages that come
too late. `open_door` mends that for the wires that use it. It also reads without end what its application
does not take: see `inbox`, which has a list of its own.

Relied on, as of daphne 4.2.3 with Autobahn 26.10 and Twisted 26.10, on which it was run, and without TLS
also daphne 4.2.2 with Autobahn 24.4 and Twisted 24.7:

- the `send` of a websocket application is ``functools.partial(Server.handle_reply, protocol)``;
- the protocol has ``state``, ``STATE_OPEN``, ``STATE_CONNECTING``, ``closeHandshakeTimeout``,
  ``sendCloseFrame(code, reasonUtf8)`` and ``sendMessage(payload, isBinary)``;
- its ``server`` has ``connections``, dicts with an ``application_instance`` where there is one;
- its ``transport`` is a ``twisted.internet.tcp.Connection``, or a TLS layer above one (its ``transport``);
  with ``write``, ``unregisterProducer``, ``abortConnection``, and of the connection ``socket``,
  ``registerProducer``, ``unregisterProducer``, ``producer``, ``connected``, ``TLS``, and its buffer:
  ``dataBuffer`` from ``offset`` on, and ``_tempDataBuffer``, ``_tempDataLen`` bytes long.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Self

from django_hub.logs import get_logger
from django_hub.wires.base import Outgoing, Unfamiliar, require
from django_hub.wires.direct import DirectWire
from django_hub.wires.inbox import find as find_inbox

logger = get_logger(__name__)

# Seconds that a client has to answer a close.
_ANSWER = 5

_DOOR = (
    "state",
    "STATE_OPEN",
    "STATE_CONNECTING",
    "closeHandshakeTimeout",
    "sendCloseFrame",
    "sendMessage",
)
_TRANSPORT = ("write", "unregisterProducer", "abortConnection")
_CONNECTION = (
    "socket.send",
    "registerProducer",
    "unregisterProducer",
    "producer",
    "connected",
    "TLS",
    "dataBuffer",
    "offset",
    "_tempDataBuffer",
    "_tempDataLen",
)

# What TLS may hold before its client counts as one that does not take it.
_TLS_HOLDS = 64 * 1024

_Send = Callable[[dict[str, Any]], Awaitable[None]]


class DaphneWire(DirectWire):
    __slots__ = ("_connection", "_open", "_protocol", "_send_now", "_transport")

    def __init__(
        self, protocol: Any, send: _Send, context: contextvars.Context | None, connection: Any
    ) -> None:
        super().__init__(send, context)
        self._protocol = protocol
        self._transport = protocol.transport
        self._connection = connection
        # Looked up once: a thousand clients' objects don't fit into a processor's cache.
        self._open = protocol.STATE_OPEN
        self._send_now: Callable[[bytes], int] = connection.socket.send

    @classmethod
    def _put_to_all(cls, wires: Iterable[Self], outgoing: Outgoing) -> None:
        data = outgoing.framed
        size = len(data)
        for wire in wires:
            connection = wire._connection
            if (
                wire._straight
                and wire._protocol.state == wire._open
                and not connection.dataBuffer
                and not connection._tempDataBuffer
            ):
                try:
                    sent = wire._send_now(data)
                except OSError:
                    sent = 0
                if sent != size:
                    wire._transport.write(data[sent:])
                    wire._hold(outgoing)
            else:
                wire.write(outgoing)

    def _is_open(self) -> bool:
        return bool(self._protocol.state == self._open)

    def _put(self, data: bytes) -> int:
        connection = self._connection
        if not connection.dataBuffer and not connection._tempDataBuffer:
            try:
                sent = self._send_now(data)
            except OSError:
                sent = 0  # full; or broken, which Twisted finds out by itself, and tells
            if sent == len(data):
                return 0
            data = data[sent:]
        self._transport.write(data)
        return self._held()

    def _held(self) -> int:
        connection = self._connection
        if not connection.connected:
            return 0
        size: int = len(connection.dataBuffer) - connection.offset + connection._tempDataLen
        return size

    async def _room(self) -> None:
        drain = self._connection.producer
        if not isinstance(drain, _Drain):
            drain = _Drain(self._held, self._connection)
            # The HTTP channel that shook hands is still there, and has nothing to do any more.
            self._transport.unregisterProducer()
            self._connection.registerProducer(drain, False)
        # Others may wait for it too, and go on when this one is given up.
        await asyncio.shield(drain.over)

    def abort(self) -> bool:
        # Twisted's TLS fails where the connection is gone already.
        if self._connection.connected:
            self._transport.abortConnection()
        return True


class DaphneTlsWire(DaphneWire):
    __slots__ = ()

    @classmethod
    def _put_to_all(cls, wires: Iterable[Self], outgoing: Outgoing) -> None:
        # Not by that of plain sockets: it would go out in the clear.
        for wire in wires:
            wire.write(outgoing)

    def _put(self, data: bytes) -> int:
        self._transport.write(data)
        return self._held()

    def _held(self) -> int:
        size = super()._held()
        return size if size > _TLS_HOLDS else 0


class _Drain:
    """A producer, for Twisted, of nothing: it is told when all was written, or the connection is lost.

    A connection has room for one, so all wires of a socket wait for the same. It goes by itself.
    """

    def __init__(self, held: Callable[[], int], connection: Any) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self._held = held
        self._connection = connection

    def resumeProducing(self) -> None:  # noqa: N802
        # Twisted also calls this when it gets to know us.
        if not self._held():
            self.stopProducing()

    def stopProducing(self) -> None:  # noqa: N802
        if not self.over.done():
            self.over.set_result(None)
            self._connection.unregisterProducer()


def find_protocol(send: Any) -> Any | None:
    """Daphne's protocol object behind its own `send`, or None where it is another server's."""
    if not isinstance(send, functools.partial) or len(send.args) != 1:
        return None
    protocol = send.args[0]
    return protocol if type(protocol).__module__.partition(".")[0] == "daphne" else None


def make(protocol: Any, send: _Send, context: contextvars.Context | None = None) -> DaphneWire:
    """The wire for a protocol object of Daphne's. Raises `Unfamiliar`."""
    require(protocol, (*_DOOR, *(f"transport.{name}" for name in _TRANSPORT)))
    connection = _tcp_connection(protocol.transport)
    require(connection, _CONNECTION)
    if connection.TLS:
        raise Unfamiliar("TCP connection without startTLS")
    kind = DaphneWire if connection is protocol.transport else DaphneTlsWire
    return kind(protocol, send, context, connection)


def _tcp_connection(transport: Any) -> Any:
    """What is below all layers. Not by its attributes: a TLS layer passes on those of the one below."""
    from twisted.internet.tcp import Connection  # there, since a protocol of it was found

    below = transport
    for _ in range(4):
        if isinstance(below, Connection):
            return below
        below = getattr(below, "transport", None)
    raise Unfamiliar(f"TCP connection below a {type(transport).__name__}")


def open_door(protocol: Any, send: _Send) -> _Send:
    """Daphne's `send` without its gaps (see on top), or as it is if that can't be."""
    try:
        require(protocol, _DOOR)
    except Unfamiliar:
        return send
    return functools.partial(_send, protocol, send)


async def _send(protocol: Any, send: _Send, message: dict[str, Any]) -> None:
    if message["type"] == "websocket.close" and protocol.state != protocol.STATE_CONNECTING:
        if protocol.state == protocol.STATE_OPEN:
            # A slow client has megabytes to read before it, for which Autobahn's one second is too little.
            protocol.closeHandshakeTimeout = max(protocol.closeHandshakeTimeout, _ANSWER)
            protocol.sendCloseFrame(message.get("code", 1000), message.get("reason", "").encode())
            if (inbox := find_inbox(protocol)) is not None:
                inbox.read_on()
    elif protocol.state not in (protocol.STATE_OPEN, protocol.STATE_CONNECTING):
        raise ConnectionResetError("the connection is closed")
    elif protocol.state == protocol.STATE_OPEN and not (message.get("text") or message.get("bytes")):
        protocol.sendMessage(b"", message.get("bytes") is not None)
    else:
        await send(message)


def before_shutdown(leave: Callable[[], Awaitable[None]], protocol: Any) -> None:
    """Have Daphne wait for ``leave`` before it ends.

    By itself it cancels all applications and stops with the first of them that is done: one request
    that waits for nothing would cut short the farewell of all sockets. And it fails, and cancels none,
    where a connection has no application yet, as one that a browser opened ahead.
    """
    from twisted.internet import defer
    from twisted.internet import reactor as running

    loop = asyncio.get_running_loop()
    reactor: Any = running

    def leaving() -> Any:
        connections = list(getattr(getattr(protocol, "server", None), "connections", {}).values())
        key = "application_instance"
        applications = [each[key] for each in connections if key in each]
        left = applications if len(applications) < len(connections) else []
        return defer.Deferred.fromFuture(loop.create_task(_quietly(leave, left)))

    reactor.addSystemEventTrigger("before", "shutdown", leaving)


def stop_listening(_handler: Any) -> None:
    """Have Daphne take no more connections; those there are stay."""
    from twisted.internet import reactor as running
    from twisted.internet.interfaces import IListeningPort

    reactor: Any = running
    for port in reactor.getReaders():
        if IListeningPort.providedBy(port):
            port.stopListening()


async def _quietly(
    leave: Callable[[], Awaitable[None]], applications: Iterable[asyncio.Future[Any]]
) -> None:
    try:
        await leave()
    except Exception:
        logger.exception("Not all clients left in order; leases do the rest")
    pending = [each for each in applications if not each.done()]
    for application in pending:
        application.cancel()
    if pending:
        await asyncio.wait(pending, timeout=_ANSWER)
