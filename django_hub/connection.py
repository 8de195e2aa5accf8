"""One client's socket in this process."""

from __future__ import annotations

import asyncio
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from django_hub import closes
from django_hub.bounds import Bounds
from django_hub.departures import Departure
from django_hub.envelopes import closing, data_of, returns_after
from django_hub.events import (
    Reason,
    describe,
    joined_body,
    left_body,
    lost_body,
    message_body,
    read_description,
    resumed_body,
)
from django_hub.exceptions import Refused
from django_hub.messages import Close
from django_hub.spans import parent
from django_hub.stores.ops import Join, Leave, Lose, Outcome, Post
from django_hub.taking import Posting, Taking
from django_hub.tallies import tallies
from django_hub.wires.base import Outgoing, Wire

# Bytes of undelivered messages that a Left may carry: a thousand stuck clients must not fill a mailbox.
_UNDELIVERED = 256 * 1024
# So long a client whose socket was closed has to answer, or to go on taking what was sent before.
_LAST_WORDS = 5.0
# One for all that have none.
_NO_META: Mapping[str, Any] = MappingProxyType({})


class Connection:
    """A client's socket in one hub: its identity, its way out, and the ops that tell the store of it.

    ``session`` is what a client of ``hub.v1`` keeps over reconnects; ``""``: a raw one.
    ``ended`` is called once, with what ended it, when the connection is put out, or finds out by itself
    that it is over: a client too slow (``slow``), a socket that can't be written to (``write``).
    """

    __slots__ = (
        "__weakref__",
        "address",
        "bounds",
        "client_id",
        "ended",
        "events",
        "grace",
        "hears",
        "hub",
        "id",
        "joined",
        "left",
        "listening",
        "meta",
        "most",
        "numbered",
        "position",
        "posted",
        "posting",
        "presence",
        "process",
        "reader",
        "returned",
        "session",
        "taking",
        "who",
        "wire",
    )

    def __init__(
        self,
        *,
        hub: str,
        client_id: str,
        meta: dict[str, Any],
        user_id: str | None,
        events: str,
        wire: Wire,
        bounds: Bounds,
        session: str = "",
        grace: float = 0.0,
        presence: bool = False,
        most: int | None = None,
        address: str = "",
    ) -> None:
        #: Where it comes from, for who looks.
        self.address = address
        self.session = session
        self.grace = grace
        #: Members that its hub may have.
        self.most = most
        #: Its client keeps a list of who is there.
        self.presence = presence and bool(session)
        #: It gets what is for all of the hub, and not only what is for it alone.
        self.hears = True
        self.id = self._new_id()
        self.process = ""
        self.hub = hub
        self.client_id = client_id
        self.events = events
        self.meta: Mapping[str, Any] = meta or _NO_META
        self.who = describe(client_id, user_id, meta, presence)
        self.wire = wire
        self.bounds = bounds
        # Numbers given to messages, and the last that is known to be in the mailbox. A number is never
        # given twice, also where its caller gave up: the message may be on its way. What a client of a
        # session sent is numbered by the client, and for it only what it sent counts as posted.
        self.numbered = 0
        self.posted = 0
        self.taking: Taking | None = None
        # Made when first needed: an idle client has neither posted nor left.
        self.posting: asyncio.Lock | None = None
        self.joined: asyncio.Future[Outcome] | None = None
        self.left: asyncio.Task[None] | None = None
        # The number in its hub's log behind which it hears all.
        self.position = ("", 0)
        # When it last joined again, by the loop's clock.
        self.returned = 0.0
        # The consumer's own task, to be ended where its socket hangs, while it is ``listening`` to that.
        self.reader: asyncio.Task[None] | None = None
        self.listening = False
        self.ended: Callable[[Connection, Departure], None] = _nobody
        wire.broken = self._broken
        wire.waits = self._keep_bounds
        wire.latest = bounds.when_slow == "latest"

    @property
    def key(self) -> str:
        """What entries for this client alone name: over reconnects the same, where it has a session."""
        return self.session or self.id

    def become(self, who: str) -> None:
        """Its meta was changed: it is what ``who`` (`events.describe`) says."""
        _, _, meta, _ = read_description(who)
        self.who = who
        self.meta = meta or _NO_META

    def _new_id(self) -> str:
        unique = uuid.uuid4().hex
        return f"{self.session}.{unique[:8]}" if self.session else unique

    def write(self, outgoing: Outgoing) -> bool:
        """Send frames, in order. False: they will never be written. Never waits, never raises."""
        return self.wire.write(outgoing)

    def close(self, code: int, reason: str = "", *, reconnect: bool | None = None) -> bool:
        """Close the socket behind the frames that wait. False: it is closed.

        ``reconnect``: see `envelopes.closing`."""
        close = Close(code, reason).shortened()
        if self.session:
            self.wire.write(Outgoing(closing(close, reconnect)))
        closed = self.wire.write(Outgoing(close))
        if closed:
            self.closing()
        return closed

    def put_out(self, why: Reason, refusal: Refused) -> None:
        """Close the socket of who is to be a member no more. It is read on, to its answer."""
        self.close(refusal.code, refusal.reason, reconnect=refusal.reconnect)
        self.ended(self, Departure(reason=why, code=refusal.code))

    def closing(self) -> None:
        """Its socket is closed by us; see to it that it ends.

        One that is stalled takes no Close and tells of no end, and not every server ends it by itself: its
        consumer would wait for ever.
        """
        asyncio.get_running_loop().call_later(
            _LAST_WORDS, _look, weakref.ref(self), self.wire.waiting_bytes
        )

    def _cut(self, waited: int) -> None:
        if self.left is not None:
            if self.wire.abort():
                return
        elif 0 < self.wire.waiting_bytes < waited:
            self.closing()  # it goes on taking what was sent before
            return
        if self.reader is None:
            return
        if not self.listening:
            self.closing()  # its message is being handled
            return
        reader, self.reader = self.reader, None
        reader.cancel()

    def join_op(self, process: str, *, again: bool = False) -> Join:
        """``again``: as a new connection, in place of this one as it was (see `Join`)."""
        now = time.time()
        old_id = self.id if again else ""
        if again:
            self.id = self._new_id()
        self.process = process
        return Join(
            hub=self.hub,
            client_id=self.client_id,
            connection=self.id,
            process=process,
            events=self.events,
            who=self.who,
            at=now,
            body=joined_body(self.who, now),
            again=old_id,
            posted=self.posted,
            grace=self.grace,
            resumed=resumed_body(self.who, now) if self.session else "",
            most=self.most,
        )

    def post_op(self, posting: Posting, data: str | bytes) -> Post:
        return Post(
            hub=self.hub,
            client_id=self.client_id,
            connection=self.id,
            number=posting.number,
            body=message_body(self.who, time.time(), data, posting.request, parent()),
            own=posting.own,
        )

    def number(self, taking: Taking | None) -> Posting:
        """The next number for a message that is posted while its client's one is taken, or for another."""
        if taking is not None and (posting := taking.next()) is not None:
            return posting
        self.numbered += 1
        return Posting(self.numbered, own=bool(self.session))

    def may_return(self, departure: Departure) -> bool:
        """Is its client expected back within its grace?"""
        if not self.grace or departure.reason in ("replaced", "kicked"):
            return False
        return departure.reason != "close" or returns_after(departure.code)

    def lose_op(self, departure: Departure) -> Lose:
        return Lose(
            hub=self.hub,
            client_id=self.client_id,
            connection=self.id,
            process=self.process,
            body=lost_body(self.who, time.time(), departure.reason, departure.code),
        )

    def leave_op(self, departure: Departure, undelivered: list[str | bytes]) -> Leave:
        body = left_body(
            self.who,
            time.time(),
            departure.reason,
            departure.code,
            departure.error,
            _newest(self._sent(undelivered)),
        )
        return Leave(
            hub=self.hub,
            client_id=self.client_id,
            connection=self.id,
            process=self.process,
            body=body,
        )

    def _sent(self, frames: list[str | bytes]) -> list[str | bytes]:
        """What the application had sent, of frames that were not written."""
        if not self.session:
            return frames
        return [data for frame in frames if (data := data_of(frame)) is not None]

    def release(self) -> None:
        """Untie the knot of connection, wire and owner, so that memory is freed at once."""
        self.ended = _nobody
        self.wire.broken = _nobody_cares
        self.wire.waits = _nobody_minds

    def _keep_bounds(self) -> None:
        while self._is_over():
            if self.bounds.when_slow != "drop_oldest":
                tallies.slow += 1
                self.ended(self, Departure(reason="slow", code=closes.SLOW))
                return
            if not self.wire.drop_oldest():
                return

    def _is_over(self) -> bool:
        wire, bounds = self.wire, self.bounds
        waiting = wire.waiting_frames
        # A single message may be larger than what else may wait: that says nothing of the client.
        return waiting > 1 and (
            waiting > bounds.max_queue_messages or wire.waiting_bytes > bounds.max_queue_bytes
        )

    def _broken(self, error: BaseException) -> None:
        self.ended(self, Departure(reason="write", error=f"{type(error).__name__}: {error}"))


def _look(reference: weakref.ref[Connection], waited: int) -> None:
    connection = reference()
    if connection is not None:
        connection._cut(waited)  # noqa: SLF001 (its own; a timer must not hold it)


def _newest(messages: list[str | bytes]) -> tuple[str | bytes, ...]:
    kept: list[str | bytes] = []
    room = _UNDELIVERED
    for message in reversed(messages):
        room -= len(message.encode()) if isinstance(message, str) else len(message)
        if room < 0:
            break
        kept.append(message)
    return tuple(reversed(kept))


def _nobody(connection: Connection, departure: Departure) -> None:
    """A connection that no relay has, yet or any more."""


def _nobody_cares(error: BaseException) -> None:
    """A wire whose connection has left."""


def _nobody_minds() -> None:
    """As above."""
