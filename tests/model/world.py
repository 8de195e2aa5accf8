"""Two servers, their workers and clients, and what happens to them."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeAlias

from hypothesis import note

from django_hub.conf import get_settings
from django_hub.entries import Entry, Scope
from django_hub.events import Event, Message
from django_hub.exceptions import Unavailable
from django_hub.layers.base import Layer
from django_hub.messages import JsonText
from django_hub.relay import Relay
from django_hub.service import HubService
from django_hub.workers import HubEvents
from tests.model.clients import Guest, Listener
from tests.model.faults import HUB, BadLayer, Life, Notes, Port, Reach

NAMES = ("ann", "bob", "cat")
# In the loop's seconds: more than the longest chain of lost calls, beats and grace takes.
PATIENCE = 300.0

here: ContextVar[Relay] = ContextVar("here")
Step: TypeAlias = tuple[Any, ...]


class Server:
    """A process with a relay, and a worker."""

    def __init__(self, world: World) -> None:
        self.life = Life()
        store: Any = Reach(world.store, world.chance, world.notes, self.life)
        self.relay = Relay(Layer(Port(world.layer, self.life)), store, get_settings())
        events = world.events

        async def handle(event: Event) -> None:
            here.set(self.relay)
            await events.handle_here(event)

        self._service = HubService(handle, store, self.relay.bells, 100)
        world.layer.workers.append(self.wake)

    def wake(self, hubs: list[str]) -> None:
        if not self.life.dead:
            self._service.wake(hubs)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        here.set(self.relay)
        return asyncio.create_task(work)


class Events(HubEvents):
    """Notes what is said, and answers."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[int, str] = {}
        self._answers = itertools.count()

    async def handle_here(self, event: Event) -> None:
        while True:
            try:
                await self._hand_over(event)
            except Unavailable:
                await asyncio.sleep(0.1)
            else:
                return

    async def hub_message(self, event: Message) -> None:
        self.heard[event.id] = str(event.data)
        if event.request is not None:
            await event.reply(f"re {event.data} {next(self._answers)}")


class World:
    """``steps`` are tuples: a method's name and what it takes."""

    def __init__(self, seed: int, store: Any) -> None:
        self._loop = asyncio.get_running_loop()
        self.chance = random.Random(seed)
        self.store = store
        self.notes = Notes()
        self.layer = BadLayer(self.chance)
        self.events = Events()
        self.servers = [Server(self) for _ in range(2)]
        self.guests = [Guest(name, self) for name in NAMES]
        self.listener = Listener("raw", self)
        self.visits: list[asyncio.Task[None]] = []
        self._wrongs: list[str] = []
        self._spoken = 0
        self._killed = False
        # What clients said that the store may have lost since.
        self._perhaps_lost: set[str] = set()
        self.lost_data = False
        self._said: list[str] = []

    @property
    def now(self) -> float:
        return self._loop.time()

    def wrong(self, what: str) -> None:
        # Where it is found out it would be an error of the wire.
        self._wrongs.append(what)

    # Steps

    async def broadcast(self, server: int, count: int) -> None:
        for _ in range(count):
            self._spoken += 1
            self.servers[server].relay.sender.broadcast(Entry(HUB, JsonText(str(self._spoken))))

    async def tell(self, server: int, guest: int) -> None:
        """As `hub_send` does."""
        client = NAMES[guest]
        member = await self._told(lambda: self.store.member(HUB, client))
        if member is not None:
            self._spoken += 1
            entry = Entry(HUB, JsonText(str(self._spoken)), Scope.ONLY, (member.connection,))
            self.servers[server].relay.sender.direct(member.process, entry, client)

    async def come(self, guest: int, server: int, hears: bool) -> None:
        self.guests[guest].come(self.servers[server], hears=hears)

    async def drop(self, guest: int, noticed_after: float) -> None:
        self.guests[guest].drop(noticed_after)

    async def say(self, guest: int, kind: str) -> None:
        self._said.append(self.guests[guest].say(kind))

    async def listen(self, server: int) -> None:
        """The raw client comes, or, where it is there, says something."""
        if self.listener.is_here:
            self._said.append(self.listener.say())
        else:
            self.listener.come(self.servers[server])

    async def unplug(self, noticed_after: float) -> None:
        self.listener.drop(noticed_after)

    async def kill(self, server: int) -> None:
        """The process dies without a word, and another one takes its place."""
        self._killed = True
        dead, self.servers[server] = self.servers[server], Server(self)
        dead.life.dead = True
        self.layer.workers.remove(dead.wake)
        for visitor in (*self.guests, self.listener):
            if visitor.server is dead:
                visitor.cut()

    async def wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def empty(self) -> None:
        self._lose_data()
        await self.store.empty()

    async def restart(self) -> None:
        await self.store.restart()

    async def save(self) -> None:
        await self.store.save()

    async def put_back(self) -> None:
        self._lose_data()
        await self.store.put_back()

    def _lose_data(self) -> None:
        self.lost_data = True
        self._perhaps_lost.update(self._said)

    # The play

    async def play(self, steps: list[Step]) -> None:
        for name, *args in steps:
            note(f"{self.now:8.3f} {name} {args}")
            await getattr(self, name)(*args)
            self._judge()
        self._all_come()
        await self._settled()
        self._judge_mail()
        for visitor in (*self.guests, self.listener):
            visitor.drop(0.0)
        if not self._killed:
            done, pending = await asyncio.wait(self.visits, timeout=PATIENCE)
            assert not pending
            assert [error for task in done if (error := task.exception())] == []
            await asyncio.sleep(PATIENCE)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    def _all_come(self) -> None:
        for number, visitor in enumerate((*self.guests, self.listener)):
            if not visitor.is_here:
                visitor.come(self.servers[number % 2])

    async def _settled(self) -> None:
        """All is handled, and all know the newest number of their hub, what was said to them alone, the
        answers to what they asked, and who is there."""
        ends = self.now + PATIENCE
        while late := await self._late():
            self._judge()
            self._all_come()
            assert self.now < ends, f"never up to date: {late}"
            await asyncio.sleep(0.5)
        self._judge()

    async def _told(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The store's answer, as soon as it gives one: the first after a restart fails."""
        while True:
            try:
                return await ask()
            except Unavailable:
                await asyncio.sleep(0.1)

    async def _late(self) -> list[str]:
        return await self._told(self._look)

    async def _look(self) -> list[str]:
        late = [] if not await self.store.waiting() else ["the mailbox"]
        if not all(server.relay.sender._waiting.is_idle for server in self.servers):
            late.append("a sender")
        members = {member.client_id: member.state for member in await self.store.members(HUB)}
        for guest in self.guests:
            log = await self.store.sent(HUB, "", 0)
            own = await self.store.sent(HUB, guest.name, 0)
            unanswered = set(guest.asked.values()) - self._perhaps_lost
            if not guest.is_up_to_date(log.epoch, log.seq, own.seq):
                late.append(f"{guest.name} at {guest.seq}, {guest.direct} of {log.seq}, {own.seq}")
            if unanswered:
                late.append(f"{guest.name} waits for {unanswered}")
            if guest.presence != members:
                late.append(f"{guest.name} takes {guest.presence} to be there, and not {members}")
        return late

    def _judge(self) -> None:
        for guest in self.guests:
            guest.ping()
        assert self._wrongs == [], self._wrongs

    def _judge_mail(self) -> None:
        heard = [text for _, text in sorted(self.events.heard.items())]
        sure = [text for text in heard if text not in self._perhaps_lost]
        assert len(sure) == len(set(sure)), f"twice in the mailbox: {heard}"
        for guest in self.guests:
            mine = [int(text.split()[1]) for text in sure if text.startswith(guest.name)]
            assert mine == sorted(mine), f"not in the order in which they were said: {heard}"
            lost = set(guest.acknowledged) - set(heard) - self._perhaps_lost
            assert not lost, f"acknowledged and not in the mailbox: {lost}"
