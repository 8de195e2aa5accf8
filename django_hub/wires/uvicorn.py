"""The wires for uvicorn: frame bytes onto its transport, on asyncio's loop and on uvloop.

Each of its three websocket implementations has one: ``websockets-sansio`` and ``wsproto`` share theirs,
``websockets`` (websockets' legacy server) has its own.

Relied on, as of uvicorn 0.54 with websockets 17.4 and wsproto 1.3.2, on which it was run:

- an application's `send` is a method of the protocol object: ``send``, or ``asgi_send`` of ``websockets``;
- its ``transport`` is an asyncio one: ``write``, ``get_write_buffer_size``, ``set_write_buffer_limits``,
  ``is_closing``, ``abort``, ``get_extra_info``;
- of ``websockets-sansio`` and ``wsproto``: ``handshake_complete``, ``close_sent``, ``disconnected``, and
  the event ``writable``, set while the transport does not ask to pause, and when the connection is lost;
- its handler of SIGTERM is a method of an object that has ``servers``, each with ``close``;
- of ``websockets``: ``state``, which is ``State.OPEN`` between the handshake and the first close frame and
  ``State.CONNECTING`` before, ``resume_writing``, and the future ``connection_lost_waiter``.

The transport's limits are set so that it asks to pause as soon as it holds a byte: the kernel is full then.
"""

from __future__ import annotations

import asyncio
import contextvars
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar, Self

from django_hub.wires.base import Outgoing, require
from django_hub.wires.direct import DirectWire

_TRANSPORT = (
    "transport.write",
    "transport.get_write_buffer_size",
    "transport.set_write_buffer_limits",
    "transport.is_closing",
    "transport.abort",
    "transport.get_extra_info",
)


class _TransportWire(DirectWire):
    """What all three have in common."""

    __slots__ = ("_protocol", "_transport")

    needed: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        protocol: Any,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        context: contextvars.Context | None = None,
    ) -> None:
        require(protocol, self.needed)
        super().__init__(send, context)
        self._protocol = protocol
        self._transport = protocol.transport
        # TLS pauses at its limit, plain sockets above it.
        secure = self._transport.get_extra_info("sslcontext") is not None
        self._transport.set_write_buffer_limits(1 if secure else 0, 0)

    def _put(self, data: bytes) -> int:
        transport = self._transport
        transport.write(data)
        size: int = transport.get_write_buffer_size()
        return size

    @abstractmethod
    def _is_lost(self) -> bool:
        """The connection is gone."""

    def _held(self) -> int:
        # Of a lost connection TLS can't say, or not the truth.
        size: int = 0 if self._is_lost() else self._transport.get_write_buffer_size()
        return size

    def abort(self) -> bool:
        self._transport.abort()
        return True


class UvicornWire(_TransportWire):
    """For ``websockets-sansio`` and ``wsproto``."""

    __slots__ = ()

    needed = (*_TRANSPORT, "handshake_complete", "close_sent", "disconnected", "writable.wait")

    @classmethod
    def _put_to_all(cls, wires: Iterable[Self], outgoing: Outgoing) -> None:
        data = outgoing.framed
        for wire in wires:
            transport = wire._transport
            if wire._straight and not wire._protocol.close_sent and not transport.is_closing():
                try:
                    transport.write(data)
                except Exception as error:  # noqa: BLE001 (this socket is broken, and no other)
                    wire._break(outgoing, error)
                    continue
                if transport.get_write_buffer_size():
                    wire._hold(outgoing)
            else:
                wire.write(outgoing)

    def _is_open(self) -> bool:
        protocol = self._protocol
        return protocol.handshake_complete and not protocol.close_sent and not self._transport.is_closing()

    def _is_lost(self) -> bool:
        return bool(self._protocol.disconnected)

    async def _room(self) -> None:
        await self._protocol.writable.wait()


class LegacyUvicornWire(_TransportWire):
    """For ``websockets``."""

    __slots__ = ()

    needed = (*_TRANSPORT, "state.name", "resume_writing", "connection_lost_waiter.done")

    def _is_open(self) -> bool:
        return self._protocol.state.name == "OPEN" and not self._transport.is_closing()

    def _is_lost(self) -> bool:
        return bool(self._protocol.connection_lost_waiter.done())

    async def _through_door(self, outgoing: Outgoing) -> None:
        # At this door a message that comes too late waits for the end, and a close waits for room as the
        # server's pings do: only one of them may, the other fails.
        while self._held():
            await self._room()
        if self._protocol.state.name not in ("CONNECTING", "OPEN"):
            raise ConnectionResetError("the connection is closed")
        await self._send(outgoing.asgi)

    async def _room(self) -> None:
        # Its own way to wait is for one at a time, see above.
        protocol = self._protocol
        resume = vars(protocol).get("resume_writing")
        if not isinstance(resume, _Resume):
            resume = protocol.resume_writing = _Resume(protocol)
        # Neither is cancelled when this one is given up: others may wait for them too.
        await asyncio.wait(
            (resume.over, protocol.connection_lost_waiter), return_when=asyncio.FIRST_COMPLETED
        )


class _Resume:
    """In place of a protocol's ``resume_writing``, once, for all wires of its socket."""

    def __init__(self, protocol: Any) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self._protocol = protocol

    def __call__(self) -> None:
        del self._protocol.resume_writing
        self._protocol.resume_writing()
        self.over.set_result(None)


def find_protocol(send: Any) -> Any | None:
    """uvicorn's protocol object behind its own `send`, or None where it is another server's."""
    protocol = getattr(send, "__self__", None)
    return protocol if type(protocol).__module__.partition(".")[0] == "uvicorn" else None


def stop_listening(handler: Any) -> None:
    """Have uvicorn take no more connections; those there are stay. ``handler``: its own for SIGTERM."""
    for server in getattr(getattr(handler, "__self__", None), "servers", ()):
        server.close()


def make(
    protocol: Any,
    send: Callable[[dict[str, Any]], Awaitable[None]],
    context: contextvars.Context | None = None,
) -> DirectWire:
    """The wire for a protocol object of uvicorn's. Raises `Unfamiliar`."""
    kind = LegacyUvicornWire if hasattr(protocol, "asgi_send") else UvicornWire
    return kind(protocol, send, context)
