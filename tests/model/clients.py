"""The clients: they keep to the protocol, and see that the server does."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from hypothesis import note

from django_hub.tokens import read_token
from tests.apps import OpenConsumer
from tests.model.faults import HUB
from tests.sockets import websocket_scope

if TYPE_CHECKING:
    from tests.model.world import Server, World


class Consumer(OpenConsumer):
    presence = True


class Visitor:
    """One socket after another, at one server or another."""

    subprotocols: tuple[str, ...] = ()

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self.world = world
        self.server: Server | None = None
        self._hears = True
        self._inbox: asyncio.Queue[dict[str, Any]] | None = None
        # The last one, and those that were not over when it began.
        self.visits: list[asyncio.Task[None]] = []

    @property
    def is_here(self) -> bool:
        """With a socket that it hears by."""
        return self._inbox is not None and self._hears

    def come(self, server: Server, *, hears: bool = True) -> None:
        """A new socket; one that hears nothing drops before it has read anything."""
        self.drop(0.0)
        self.server, self._hears = server, hears
        inbox = self._inbox = asyncio.Queue()

        async def send(message: dict[str, Any]) -> None:
            await server.life.goes_on()
            if not hears or self._inbox is not inbox:
                return
            if message["type"] == "websocket.close":
                self.closed(message)
                self.drop(0.0)
            elif message["type"] == "websocket.send":
                self.take(json.loads(message["text"]))

        scope = websocket_scope(HUB, client_id=self.name, subprotocols=list(self.subprotocols))
        inbox.put_nowait({"type": "websocket.connect"})
        self.begin()
        self.visits = [visit for visit in self.visits if not visit.done()]
        self.visits.append(server.run(Consumer.as_asgi()(scope, inbox.get, send)))
        self.world.visits.append(self.visits[-1])

    def drop(self, noticed_after: float) -> None:
        if self._inbox is not None:
            put, self._inbox = self._inbox.put_nowait, None
            end = {"type": "websocket.disconnect", "code": 1006}
            asyncio.get_running_loop().call_later(noticed_after, put, end)

    def cut(self) -> None:
        """Its server is no more."""
        self._inbox = None

    def write(self, text: str) -> None:
        if self._inbox is not None:
            self._inbox.put_nowait({"type": "websocket.receive", "text": text})

    def begin(self) -> None:
        """A new socket is there."""

    def take(self, frame: Any) -> None:
        raise NotImplementedError

    def closed(self, message: dict[str, Any]) -> None:
        raise NotImplementedError


class Listener(Visitor):
    """A raw client: each of its connections gets what is said in the hub's order, none twice."""

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world)
        self._heard: list[int] = []
        self._said = 0

    def begin(self) -> None:
        self._heard = []

    def say(self) -> str:
        self._said += 1
        text = f"{self.name} {self._said}"
        self.write(text)
        return text

    def take(self, frame: Any) -> None:
        self._heard.append(frame)
        places = self.world.notes.numbered
        if len(set(self._heard)) < len(self._heard):
            self.world.wrong(f"{self.name} heard one twice: {self._heard}")
        by_epoch: dict[str, list[int]] = {}
        order = {data: place for place, data in places.items() if not isinstance(data, dict)}
        for data in self._heard:
            if data in order:
                by_epoch.setdefault(order[data][0], []).append(order[data][1])
        if not all(seqs == sorted(seqs) for seqs in by_epoch.values()):
            self.world.wrong(f"{self.name} heard in another order than the hub's: {self._heard}")

    def closed(self, message: dict[str, Any]) -> None:
        # An older socket of it may be joined later than this one.
        if message["code"] != 4409 or len(self.visits) == 1:
            self.world.wrong(f"{self.name} was closed: {message}")


class Guest(Visitor):
    """A client of ``hub.v1``."""

    subprotocols = ("hub.v1",)

    def __init__(self, name: str, world: World) -> None:
        super().__init__(name, world)
        self.token: str | None = None
        self._nonce = f"a secret that only {name} knows"
        self.epoch = ""
        self.seq = self.direct = 0
        self.welcomed = False
        self.presence: dict[str, str] = {}
        # It was told that something is missing: also of its own log, that may go on anywhere above.
        self._skips = False
        # What was said to it alone.
        self._had: set[Any] = set()
        self._said = 0
        self.waiting: dict[int, tuple[str, str]] = {}
        self.acknowledged: list[str] = []
        #: Requests that are to be answered: not those of which an answer may be among what it missed.
        self.asked: dict[int, str] = {}

    def begin(self) -> None:
        self.welcomed = False
        known = {"epoch": self.epoch, "seq": self.seq, "direct": self.direct}
        self._send(
            {
                "type": "connect",
                **({"token": self.token, **known} if self.token else {"nonce": self._nonce}),
            }
        )

    def say(self, kind: str = "message") -> str:
        self._said += 1
        text = f"{self.name} {self._said}"
        self.waiting[self._said] = kind, text
        if kind == "request":
            self.asked[self._said] = text
        if self.welcomed:
            self._send({"type": kind, "id": self._said, "data": text})
        return text

    def ping(self) -> None:
        if self.welcomed:
            self._send({"type": "ping"})

    def _send(self, frame: dict[str, Any]) -> None:
        self.write(json.dumps(frame))

    def take(self, frame: dict[str, Any]) -> None:
        frame = {"type": "message", **frame}
        if frame["type"] != "pong":
            note(f"{self.world.now:8.3f} {self.name} {frame}")
        place = (self.epoch, self.seq, self.direct)
        match frame:
            case {"type": "hello"}:
                self._greeted(frame)
            case {"type": "resync", "epoch": epoch, "seq": seq}:
                self.epoch, self.seq, self._skips = epoch, seq, True
                self.asked.clear()
            case {"type": "message" | "presence", "seq": seq}:
                said = {name: frame[name] for name in ("event", "member") if name in frame} or frame["data"]
                # On a broker a reply may get lost for good: who hears it first knows it then.
                known = self.world.notes.numbered.setdefault((self.epoch, seq), said)
                self._expect(known == said, frame, place)
                if seq > self.seq:
                    self._expect(seq == self.seq + 1, frame, place)
                    self.seq = seq
                    if frame["type"] == "presence":
                        self._changed(frame["event"], frame["member"])
            case {"type": "message" | "reply", "direct": direct, "data": data} if direct <= self.direct:
                # A copy is ignored: so it has to be one.
                self._expect(data in self._had, frame, place)
            case {"type": "message" | "reply", "direct": direct, "data": data}:
                skips, self._skips = self._skips, False
                self._expect(skips or not self._is_meant(self.direct + 1, direct), frame, place)
                self._expect(data not in self._had, frame, place)
                self.direct = direct
                self._had.add(data)
                if frame["type"] == "reply":
                    # Its event may have been handled twice.
                    self._expect(data.startswith(f"re {self.name} {frame['id']} "), frame, place)
                    self.asked.pop(frame["id"], None)
            case {"type": "message" | "reply"} if "seq" not in frame and "direct" not in frame:
                pass  # to one who was no member when it was to get its number
            case {"type": "ack", "id": number}:
                for k in [k for k in self.waiting if k <= number]:
                    self.acknowledged.append(self.waiting.pop(k)[1])
            case {"type": "closing" | "pong"}:
                pass
            case _:
                self._expect(False, frame, place)

    def _changed(self, event: str, member: dict[str, Any]) -> None:
        if event == "left":
            self.presence.pop(member["client"], None)
        else:
            self.presence[member["client"]] = member["state"]

    def _is_meant(self, first: int, end: int) -> bool:
        """Is one of these numbers of its own log a message to it, as the client that it is now?"""
        _, session = read_token(self.token or "", HUB, {})
        meant = self.world.notes.session_meant
        return any(meant.get((self.name, number)) == session for number in range(first, end))

    def is_up_to_date(self, epoch: str, seq: int, direct: int) -> bool:
        return (
            self.welcomed
            and not self.waiting
            and (self.epoch, self.seq) == (epoch, seq)
            and not self._is_meant(self.direct + 1, direct + 1)
        )

    def closed(self, message: dict[str, Any]) -> None:
        # No server knows which of two sockets is the newer, and the Join of one whose drop was not noticed
        # may be later. By token or nonce they are one client's, which is told to come back; but a store
        # that lost its data knows nothing of that.
        replaced = message["code"] == 4409 and self.world.lost_data and len(self.visits) > 1
        if message["code"] != 1012 and not replaced:
            self.world.wrong(f"{self.name} was closed: {message}")

    def _greeted(self, hello: dict[str, Any]) -> None:
        place = (self.epoch, self.seq, self.direct)
        self._expect((hello["recovered"] == "new") == (self.token is None), hello, place)
        if hello["recovered"] == "yes":
            self._expect((hello["epoch"], hello["seq"]) == place[:2], hello, place)
            self._expect(not hello["resumed"] or hello["direct"] == self.direct, hello, place)
        if hello["recovered"] == "no" or not hello["resumed"]:
            self.asked = {k: self.asked[k] for k in self.asked if k in self.waiting}
        self.epoch, self.seq, self.direct = hello["epoch"], hello["seq"], hello["direct"]
        self.token = hello["token"]
        self.presence = {member["client"]: member["state"] for member in hello["presence"]}
        self.welcomed, self._skips = True, False
        for number, (kind, text) in self.waiting.items():
            self._send({"type": kind, "id": number, "data": text})

    def _expect(self, holds: bool, frame: dict[str, Any], place: tuple[str, int, int]) -> None:
        if not holds:
            self.world.wrong(f"{self.name}, who was at {place}, was told {frame}")
