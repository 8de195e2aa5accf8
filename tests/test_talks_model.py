"""Clients of ``hub.v1`` at two servers, in any interleaving: no client misses a message unawares, and none
of its own is lost or doubled.

Everything between is bad: the layer loses, doubles and reorders what relays send each other, calls of the
store are late or their replies get lost, clients drop unnoticed, and the store loses its data. All is one
process on a loop whose time jumps to what is due next, so hours take seconds, and a seed fails again.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import logging
import random
import selectors
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeAlias, TypeVar
from unittest.mock import patch

from django.test import override_settings
from hypothesis import example, given, note, settings
from hypothesis import strategies as st

from django_hub import consumers
from django_hub.conf import get_settings
from django_hub.entries import Entry, Scope, from_item
from django_hub.events import Message, read_body
from django_hub.exceptions import Unavailable
from django_hub.layers.base import Layer
from django_hub.limits import Limits
from django_hub.messages import JsonText
from django_hub.relay import Relay
from django_hub.stores.memory import MemoryStore
from django_hub.stores.ops import Commit
from django_hub.tokens import read_token
from tests.apps import OpenConsumer
from tests.sockets import websocket_scope

HUB = "lobby"
NAMES = ("ann", "bob", "cat")
# Less than what may be said while somebody is away.
HISTORY = 6
# In the loop's seconds: more than the longest chain of lost calls, beats and grace takes.
PATIENCE = 300.0

_T = TypeVar("_T")
_here: ContextVar[Relay] = ContextVar("_here")


# A world of one process


class _Jumps(selectors.DefaultSelector):
    """Waits by going on in time."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise AssertionError("Everybody waits for somebody else.")
        self.now += max(0.0, timeout)
        return super().select(0)


class JumpingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumps = _Jumps()
        super().__init__(self._jumps)

    def time(self) -> float:
        return self._jumps.now


class BadLayer:
    """What is sent to a channel is lost, comes twice, or late and so behind what was sent after it."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._channels: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._groups: dict[str, set[str]] = defaultdict(set)

    async def new_channel(self, prefix: str = "relay.") -> str:
        name = f"{prefix}{len(self._channels)}"
        self._channels[name] = asyncio.Queue()
        return name

    async def receive(self, channel: str) -> dict[str, Any]:
        return await self._channels[channel].get()

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        # Others are workers' channels: nobody works here.
        if (queue := self._channels.get(channel)) is None:
            return
        loop = asyncio.get_running_loop()
        for _ in range(self._chance.choice((0, 1, 1, 1, 2))):
            # A repeat that its number does not give away, at times.
            copied = {**message, "number": ""} if self._chance.random() < 0.5 else message
            late = self._chance.choice((0.0, 0.0, 0.01, 0.3))
            loop.call_later(late * self._chance.random(), queue.put_nowait, copied)

    async def group_add(self, group: str, channel: str) -> None:
        self._groups[group].add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._groups[group].discard(channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for channel in sorted(self._groups[group]):
            await self.send(channel, message)


class BadStore(MemoryStore):
    """Calls take their time, fail, or lose their replies; all data may get lost, or be put back to what it
    was. ``numbered`` has what was ever numbered, as its last wrote it: by epoch and number."""

    def __init__(self, chance: random.Random, clock: Callable[[], float]) -> None:
        super().__init__(Limits(history_size=HISTORY), clock)
        self._chance = chance
        self._eras = 0
        self.numbered: dict[tuple[str, int], Any] = {}
        # By client and number: a message to a client that was replaced is in its successor's log.
        self.session_meant: dict[tuple[str, int], str] = {}

    async def apply(self, ops: Any) -> Any:
        return await self._over_the_line(super().apply, ops)

    async def history(self, hub: str, after: int) -> Any:
        return await self._over_the_line(super().history, hub, after)

    async def sent(self, hub: str, client_id: str, after: int) -> Any:
        return await self._over_the_line(super().sent, hub, client_id, after)

    async def positions(self, hubs: Any) -> Any:
        return await self._over_the_line(super().positions, hubs)

    async def publish(self, publications: Any) -> Any:
        return await self._over_the_line(self._publish_noted, publications)

    async def _publish_noted(self, publications: Any) -> Any:
        numbers = await super().publish(publications)
        for publication, number in zip(publications, numbers, strict=True):
            if number is None:
                continue
            entry = from_item(HUB, number.epoch, number.seq, publication.item)
            if publication.client_id:
                self.session_meant[publication.client_id, number.seq] = entry.ids[0]
            else:
                self.numbered[number.epoch, number.seq] = json.loads(entry.frame)
        return numbers

    async def epoch(self) -> str:
        return str(self._eras)

    async def _over_the_line(self, call: Callable[..., Awaitable[_T]], *args: Any) -> _T:
        await self._cross()
        answer = await call(*args)
        await self._cross()
        return answer

    async def _cross(self) -> None:
        await asyncio.sleep(0.02 * self._chance.random())
        if self._chance.random() < 0.04:
            raise Unavailable("the line broke")

    def empty(self) -> None:
        eras = self._eras + 1
        MemoryStore.__init__(self, self.limits, self._clock)
        self._eras = eras

    def saved(self) -> dict[str, Any]:
        kept = ("limits", "_clock", "_lock", "_chance", "numbered", "session_meant")
        return copy.deepcopy({name: value for name, value in vars(self).items() if name not in kept})

    def put_back(self, saved: dict[str, Any]) -> None:
        vars(self).update(copy.deepcopy(saved))

    async def mail(self) -> list[Message]:
        """The clients' messages in the mailbox, in its order; they are taken away."""
        messages = []
        (claim,) = await self.claim([HUB], "a reader")
        while claim.batch:
            events = [read_body(HUB, letter.position, letter.body) for letter in claim.batch]
            messages += [event for event in events if isinstance(event, Message)]
            (claim,) = await self.commit([Commit(HUB, claim.token, claim.batch[-1].position)])
        return messages


# A client


class Guest:
    """Keeps to the protocol, and sees that the server does."""

    def __init__(self, name: str, world: World) -> None:
        self.name = name
        self._world = world
        self.token: str | None = None
        self.epoch = ""
        self.seq = self.direct = 0
        self.welcomed = False
        # It was told that something is missing: also of its own log, that may go on anywhere above.
        self._skips = False
        # What was said to it alone.
        self._had: set[int] = set()
        self._said = 0
        self.waiting: dict[int, str] = {}
        self.acknowledged: list[str] = []
        self._inbox: asyncio.Queue[dict[str, Any]] | None = None
        # The last one, and those that were not over when it began.
        self._visits: list[asyncio.Task[None]] = []

    @property
    def is_here(self) -> bool:
        return self._inbox is not None

    def come(self, relay: Relay, *, hears: bool = True) -> None:
        """A new socket; one that hears nothing drops before it has read anything."""
        self.drop(0.0)
        self.welcomed = False
        inbox = self._inbox = asyncio.Queue()

        async def send(message: dict[str, Any]) -> None:
            if not hears or self._inbox is not inbox:
                return
            if message["type"] == "websocket.close":
                self._closed(message)
            elif message["type"] == "websocket.send":
                self._take(json.loads(message["text"]))

        scope = websocket_scope(HUB, client_id=self.name, subprotocols=["hub.v1"])
        inbox.put_nowait({"type": "websocket.connect"})
        known = {"epoch": self.epoch, "seq": self.seq, "direct": self.direct}
        self._send({"type": "connect", **({"token": self.token, **known} if self.token else {})})
        _here.set(relay)
        self._visits = [visit for visit in self._visits if not visit.done()]
        self._visits.append(asyncio.create_task(OpenConsumer.as_asgi()(scope, inbox.get, send)))
        self._world.visits.append(self._visits[-1])

    def drop(self, noticed_after: float) -> None:
        if self._inbox is not None:
            put, self._inbox = self._inbox.put_nowait, None
            end = {"type": "websocket.disconnect", "code": 1006}
            asyncio.get_running_loop().call_later(noticed_after, put, end)

    def say(self) -> str:
        self._said += 1
        text = self.waiting[self._said] = f"{self.name} {self._said}"
        if self.welcomed:
            self._send({"type": "message", "id": self._said, "data": text})
        return text

    def ping(self) -> None:
        if self.welcomed:
            self._send({"type": "ping"})

    def _send(self, frame: dict[str, Any]) -> None:
        if self._inbox is not None:
            self._inbox.put_nowait({"type": "websocket.receive", "text": json.dumps(frame)})

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] != "pong":
            note(f"{self._world.now:8.3f} {self.name} {frame}")
        place = (self.epoch, self.seq, self.direct)
        match frame:
            case {"type": "hello"}:
                self._greeted(frame)
            case {"type": "resync", "epoch": epoch, "seq": seq}:
                self.epoch, self.seq, self._skips = epoch, seq, True
            case {"type": "message", "seq": seq, "data": data}:
                self._expect(self._world.store.numbered.get((self.epoch, seq)) == data, frame, place)
                if seq > self.seq:
                    self._expect(seq == self.seq + 1, frame, place)
                    self.seq = seq
            case {"type": "message", "direct": direct, "data": data} if direct <= self.direct:
                # A copy is ignored: so it has to be one.
                self._expect(data in self._had, frame, place)
            case {"type": "message", "direct": direct, "data": data}:
                skips, self._skips = self._skips, False
                self._expect(skips or not self._is_meant(self.direct + 1, direct), frame, place)
                self._expect(data not in self._had, frame, place)
                self.direct = direct
                self._had.add(data)
            case {"type": "message"} if "seq" not in frame and "direct" not in frame:
                pass  # to one who was no member when it was to get its number
            case {"type": "ack", "id": number}:
                for k in [k for k in self.waiting if k <= number]:
                    self.acknowledged.append(self.waiting.pop(k))
            case {"type": "closing" | "pong"}:
                pass
            case _:
                self._expect(False, frame, place)

    def _is_meant(self, first: int, end: int) -> bool:
        """Is one of these numbers of its own log a message to it, as the client that it is now?"""
        _, session = read_token(self.token or "", HUB, {})
        meant = self._world.store.session_meant
        return any(meant.get((self.name, number)) == session for number in range(first, end))

    def is_up_to_date(self, epoch: str, seq: int, direct: int) -> bool:
        return (
            self.welcomed
            and not self.waiting
            and (self.epoch, self.seq) == (epoch, seq)
            and not self._is_meant(self.direct + 1, direct + 1)
        )

    def _closed(self, message: dict[str, Any]) -> None:
        # 1012: a client comes back by itself. 4409: no server knows which of two sockets is the newer, and
        # the Join of one whose drop was not noticed may be later. Where that had no token yet, it was
        # another client's: its user loads the page again.
        if message["code"] != 1012 and (message["code"] != 4409 or len(self._visits) == 1):
            self._world.wrong(f"{self.name} was closed: {message}")
        self.drop(0.0)

    def _greeted(self, hello: dict[str, Any]) -> None:
        place = (self.epoch, self.seq, self.direct)
        self._expect((hello["recovered"] == "new") == (self.token is None), hello, place)
        if hello["recovered"] == "yes":
            self._expect((hello["epoch"], hello["seq"]) == place[:2], hello, place)
            self._expect(not hello["resumed"] or hello["direct"] == self.direct, hello, place)
        self.epoch, self.seq, self.direct = hello["epoch"], hello["seq"], hello["direct"]
        self.token = hello["token"]
        self.welcomed, self._skips = True, False
        for number, text in self.waiting.items():
            self._send({"type": "message", "id": number, "data": text})

    def _expect(self, holds: bool, frame: dict[str, Any], place: tuple[str, int, int]) -> None:
        if not holds:
            self._world.wrong(f"{self.name}, who was at {place}, was told {frame}")


# What happens


class World:
    """``steps`` are tuples: a method's name and what it takes."""

    def __init__(self, seed: int) -> None:
        self._loop = asyncio.get_running_loop()
        chance = random.Random(seed)
        self.store = BadStore(chance, lambda: 1_000_000 + self._loop.time())
        layer = Layer(BadLayer(chance))
        self.relays = [Relay(layer, self.store, get_settings()) for _ in range(2)]
        self.guests = [Guest(name, self) for name in NAMES]
        self.visits: list[asyncio.Task[None]] = []
        self._wrongs: list[str] = []
        self._spoken = 0
        self._saved = self.store.saved()
        # What clients said that the store may have lost since.
        self._perhaps_lost: set[str] = set()
        self._heard: list[str] = []

    @property
    def now(self) -> float:
        return self._loop.time()

    def wrong(self, what: str) -> None:
        # Where it is found out it would be an error of the wire.
        self._wrongs.append(what)

    async def broadcast(self, server: int, count: int) -> None:
        for _ in range(count):
            self._spoken += 1
            self.relays[server].sender.broadcast(Entry(HUB, JsonText(str(self._spoken))))

    async def tell(self, server: int, guest: int) -> None:
        """As `hub_send` does."""
        client = NAMES[guest]
        member = await self.store.member(HUB, client)
        if member is not None:
            self._spoken += 1
            entry = Entry(HUB, JsonText(str(self._spoken)), Scope.ONLY, (member.connection,))
            self.relays[server].sender.direct(member.process, entry, client)

    async def come(self, guest: int, server: int, hears: bool) -> None:
        self.guests[guest].come(self.relays[server], hears=hears)

    async def drop(self, guest: int, noticed_after: float) -> None:
        self.guests[guest].drop(noticed_after)

    async def say(self, guest: int) -> None:
        self._heard.append(self.guests[guest].say())

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def empty(self) -> None:
        self._perhaps_lost.update(self._heard)
        self.store.empty()

    async def save(self) -> None:
        self._saved = self.store.saved()

    async def put_back(self) -> None:
        self._perhaps_lost.update(self._heard)
        self.store.put_back(self._saved)

    async def play(self, steps: list[Step]) -> None:
        for name, *args in steps:
            note(f"{self.now:8.3f} {name} {args}")
            await getattr(self, name)(*args)
            self._judge()
        # What was sent to a client alone, and got lost as the last, nobody looks for until it comes again.
        for relay in self.relays:
            await relay.sender.idle()
        for number, guest in enumerate(self.guests):
            guest.come(self.relays[number % 2])
        await self._settled()
        await self._judge_mail()
        for guest in self.guests:
            guest.drop(0.0)
        done, pending = await asyncio.wait(self.visits, timeout=PATIENCE)
        assert not pending
        assert [error for task in done if (error := task.exception())] == []
        await asyncio.sleep(PATIENCE)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def _settled(self) -> None:
        """All know the newest number of their hub, and of what was said to them alone."""
        ends = self.now + PATIENCE
        while (late := [guest.name for guest in self.guests if not self._is_up_to_date(guest)]) or (
            not all(relay.sender._waiting.is_idle for relay in self.relays)
        ):
            self._judge()
            for number, guest in enumerate(self.guests):
                if not guest.is_here:
                    guest.come(self.relays[number % 2])
            assert self.now < ends, f"never up to date: {late}"
            await asyncio.sleep(0.5)
        self._judge()

    def _is_up_to_date(self, guest: Guest) -> bool:
        log = self.store._logs.history(HUB, "", 0, 300.0, self.store._clock())
        own = self.store._logs.history(HUB, guest.name, 0, 300.0, self.store._clock())
        return guest.is_up_to_date(log.epoch, log.seq, own.seq)

    def _judge(self) -> None:
        for guest in self.guests:
            guest.ping()
        assert self._wrongs == []

    async def _judge_mail(self) -> None:
        mail = [str(message.data) for message in await self.store.mail()]
        assert len(mail) == len(set(mail)), f"twice in the mailbox: {mail}"
        for guest in self.guests:
            mine = [int(text.split()[1]) for text in mail if text.startswith(guest.name)]
            assert mine == sorted(mine), f"not in the order in which they were said: {mail}"
            lost = set(guest.acknowledged) - set(mail) - self._perhaps_lost
            assert not lost, f"acknowledged and not in the mailbox: {lost}"


Step: TypeAlias = tuple[Any, ...]

servers = st.integers(0, 1)
guests = st.integers(0, len(NAMES) - 1)
delays = st.sampled_from((0.0, 0.0, 0.5, 20.0))
come = st.tuples(st.just("come"), guests, servers, st.sampled_from((True, True, True, False)))
common = st.one_of(
    come,
    come,
    st.tuples(st.just("drop"), guests, delays),
    st.tuples(st.just("broadcast"), servers, st.integers(1, 4)),
    st.tuples(st.just("broadcast"), servers, st.integers(1, 4)),
    st.tuples(st.just("tell"), servers, guests),
    st.tuples(st.just("say"), guests),
    st.tuples(st.just("wait"), st.sampled_from((0.0, 0.01, 0.1, 0.5, 3.0, 20.0))),
    st.tuples(st.just("wait"), st.sampled_from((0.0, 0.01, 0.1, 0.5, 3.0, 20.0))),
)


class _Errors(logging.Handler):
    """What the code says of exceptions that it did not expect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(self.format(record))


@contextlib.contextmanager
def no_errors() -> Iterator[None]:
    errors = _Errors()
    logger = logging.getLogger()
    logger.addHandler(errors)
    try:
        yield
    finally:
        logger.removeHandler(errors)
    assert errors.found == []


def play(seed: int, steps: list[Step]) -> None:
    async def played() -> None:
        await World(seed).play(steps)

    with (
        override_settings(DJANGO_HUB={"HISTORY_SIZE": HISTORY}),
        patch.object(consumers, "get_relay", _here.get),
        no_errors(),
        asyncio.Runner(loop_factory=JumpingLoop) as runner,
    ):
        runner.run(played())


@settings(max_examples=100, report_multiple_bugs=False)
@given(st.integers(0, 2**16), st.lists(common, max_size=40))
def test_nobody_misses_anything_unawares(seed: int, steps: list[Step]) -> None:
    play(seed, steps)


@settings(max_examples=100, report_multiple_bugs=False)
@given(st.integers(0, 2**16), st.lists(st.one_of(common, common, st.just(("empty",))), max_size=40))
@example(0, [("come", 0, 0, True), ("wait", 0.1), ("empty",), ("say", 0)])
def test_who_hears_of_a_store_that_lost_its_data(seed: int, steps: list[Step]) -> None:
    play(seed, steps)


@settings(max_examples=100, report_multiple_bugs=False)
@given(
    st.integers(0, 2**16),
    st.lists(st.one_of(common, common, st.sampled_from([("save",), ("put_back",)])), max_size=40),
)
def test_who_hears_of_a_store_that_was_put_back(seed: int, steps: list[Step]) -> None:
    play(seed, steps)
