"""What a member says: taken one message after another, within its limits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import ClassVar, Protocol

from django_hub import closes
from django_hub.access import Access
from django_hub.connection import Connection
from django_hub.conversation import Conversation
from django_hub.departures import Departure, departure_of
from django_hub.exceptions import Refused
from django_hub.logs import get_logger
from django_hub.messages import is_longer
from django_hub.rates import Bucket
from django_hub.readahead import Receive
from django_hub.spans import received

logger = get_logger(__name__)


class Speaker(Protocol):
    """A consumer, as far as it takes what its client says."""

    max_message_bytes: ClassVar[int]
    rate: ClassVar[float | None]
    burst: ClassVar[int]

    async def on_message(self, data: str | bytes) -> None: ...


class Intake:
    """``talk`` is with a client of ``hub.v1``; None: a raw one."""

    __slots__ = ("_access", "_bucket", "_connection", "_speaker", "_talk")

    def __init__(
        self, connection: Connection, talk: Conversation | None, access: Access, speaker: Speaker
    ) -> None:
        self._connection = connection
        self._talk = talk
        self._access = access
        self._speaker = speaker
        # Made when first needed: most say nothing for long.
        self._bucket: Bucket | None = None

    async def read(self, receive: Receive) -> Departure:
        """Hear the client until its socket ends. Raises what the consumer's `on_message` does."""
        connection, speaker, talk = self._connection, self._speaker, self._talk
        while True:
            connection.listening = True
            message = await receive()
            connection.listening = False
            if message["type"] == "websocket.disconnect":
                return departure_of(message, connection.wire.closed_by_us)
            # What a client still sent to a socket that we closed is nobody's.
            if connection.wire.closed or connection.left is not None:
                continue
            data = message.get("text")
            if data is None:
                data = message.get("bytes") or b""
            if is_longer(data, speaker.max_message_bytes):
                most = speaker.max_message_bytes
                self._end(Refused(closes.TOO_BIG, f"a message may have {most} bytes"))
                continue
            wait = self._wait()
            if wait and not await self._held_back(wait):
                continue
            may_send = self._access.may_send
            try:
                if talk is not None:
                    await talk.take(connection, data, self._said if may_send else None)
                elif may_send:
                    await self._said(data)
                else:
                    self._end(Refused(closes.FORBIDDEN, "this client may not send"))
            except Refused as refusal:
                self._end(refusal)

    def _said(self, data: str | bytes) -> Awaitable[None]:
        return received(self._speaker.on_message, self._connection.hub, data)

    def _wait(self) -> float:
        """How many seconds a message that just came has to wait: mostly 0."""
        if self._speaker.rate is None:
            return 0.0
        if self._bucket is None:
            self._bucket = Bucket(self._speaker.rate, self._speaker.burst)
        return self._bucket.take(time.monotonic())

    async def _held_back(self, seconds: float) -> bool:
        """Wait, for nothing is read meanwhile. False: the socket was closed, by this or another."""
        connection = self._connection
        if self._bucket is not None and self._bucket.overdrawn:
            logger.warning(
                "%s in hub %s is closed: it sends more than %s messages a second",
                connection.client_id,
                connection.hub,
                self._speaker.rate,
            )
            self._end(Refused(closes.TOO_MANY, "too many messages"))
            return False
        await asyncio.sleep(seconds)
        return not connection.wire.closed and connection.left is None

    def _end(self, refusal: Refused) -> None:
        if self._talk is not None:
            self._talk.acknowledge(self._connection)
        self._connection.put_out("close", refusal)
