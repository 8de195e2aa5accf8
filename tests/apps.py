"""What the unit tests serve, and the world in which they do: a layer, a store, a desk for the events.

`world` is a fixture that a module takes by importing it; it holds for every test there that nothing is
left behind after the last client.
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers
from channels.routing import ChannelNameRouter, ProtocolTypeRouter

from django_hub.bounds import Bounds
from django_hub.connection import Connection
from django_hub.consumers import HubConsumer
from django_hub.departures import Departure
from django_hub.events import Event, Joined, Left, Message, read_body
from django_hub.exceptions import Damaged, Unavailable
from django_hub.layers.choice import get_layer
from django_hub.layers.memory import InMemoryLayer
from django_hub.limits import Limits
from django_hub.relay import Relay, get_relay
from django_hub.stores import registry
from django_hub.stores.memory import MemoryStore
from django_hub.stores.ops import Applied, Claim, Commit, History, Lease, Number, Op
from django_hub.stores.registry import get_store
from django_hub.wires.asgi import AsgiWire
from django_hub.workers import HubEvents
from tests.sockets import SCALE, Socket, until, websocket_scope

EVENTS = "test-events"
GONE = Departure(reason="close", code=1000)


# What is served


class Desk:
    """Where the events of one test arrive. ``handler`` is called with each before it is noted."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.others: list[dict[str, Any]] = []
        self.handler: Callable[[Event], Awaitable[None]] | None = None
        self.started = 0


_desk = Desk()


class DeskEvents(HubEvents):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _desk.started += 1
        await super().__call__(scope, receive, send)

    async def handle(self, event: Event) -> None:
        if _desk.handler is not None:
            await _desk.handler(event)
        await super().handle(event)
        _desk.events.append(event)

    async def desk_note(self, message: dict[str, Any]) -> None:
        _desk.others.append(message)


class OpenConsumer(HubConsumer):
    """Lets everybody in; the id and the meta stand in the scope."""

    events = EVENTS

    async def authorize(self) -> bool:
        return True

    async def get_client_id(self) -> str | None:
        return self.scope.get("client_id")

    async def get_meta(self) -> dict[str, Any]:
        return self.scope.get("meta", {})


class StockConsumer(AsyncWebsocketConsumer):
    """A consumer that knows nothing of hubs; the last one made is ``StockConsumer.last()``."""


application = ProtocolTypeRouter(
    {
        "websocket": OpenConsumer.as_asgi(),
        "channel": ChannelNameRouter({EVENTS: DeskEvents.as_asgi(), "hub-events": DeskEvents.as_asgi()}),
    }
)


# What fails, as the real ones do


class FaultyLayer(BaseChannelLayer):
    """A layer that could be another machine's: the in-memory one behind a bad line.

    ``fail[name]`` calls of a method still raise ``error``, by default that of a broker that is gone;
    ``gates[name]`` holds its calls until it is set.
    """

    extensions = ("groups",)

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.inner = InMemoryChannelLayer(**config)
        self.group_expiry = self.inner.group_expiry
        self.fail: dict[str, int] = {}
        self.error: type[Exception] = ConnectionError
        self.gates: dict[str, asyncio.Event] = {}
        self.calls: list[tuple[str, ...]] = []

    @property
    def channels(self) -> dict[str, Any]:
        return self.inner.channels

    @property
    def groups(self) -> dict[str, dict[str, float]]:
        return self.inner.groups

    async def _meet(self, name: str, *about: str) -> None:
        self.calls.append((name, *about))
        if name in self.gates:
            await self.gates[name].wait()
        if self.fail.get(name):
            self.fail[name] -= 1
            raise self.error(f"no {name} now")

    async def new_channel(self, prefix: str = "specific.") -> str:
        await self._meet("new_channel")
        return await self.inner.new_channel(prefix)

    async def receive(self, channel: str) -> dict[str, Any]:
        await self._meet("receive", channel)
        return await self.inner.receive(channel)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._meet("send", channel)
        await self.inner.send(channel, message)

    async def group_add(self, group: str, channel: str) -> None:
        await self._meet("group_add", group)
        await self.inner.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._meet("group_discard", group)
        await self.inner.group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._meet("group_send", group)
        await self.inner.group_send(group, message)


FAULTY = {"default": {"BACKEND": "tests.apps.FaultyLayer"}}


class FaultyStore(MemoryStore):
    """The memory store behind a bad line: ``lost[name]`` replies are lost after the work is done, and
    ``fail[name]`` exceptions are raised instead of it; the hubs in ``damaged`` are. ``line`` holds every
    `apply` until it is set, ``gate`` the answers of `waiting_in`."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] | None = None) -> None:
        super().__init__(limits, *([clock] if clock else []))
        self.lost: dict[str, int] = {}
        self.fail: dict[str, list[Exception]] = {}
        self.calls: list[str] = []
        self.applied: list[list[Op]] = []
        self.damaged: set[str] = set()
        self.line: asyncio.Event | None = None
        self.gate: asyncio.Event | None = None
        self.era = "from the beginning"

    def _before(self, name: str) -> None:
        self.calls.append(name)
        if self.fail.get(name):
            raise self.fail[name].pop(0)

    def _after(self, name: str) -> None:
        if self.lost.get(name):
            self.lost[name] -= 1
            raise Unavailable("the reply was lost")

    async def apply(self, ops: Any) -> Applied:
        self._before("apply")
        self.applied.append(list(ops))
        if self.line is not None:
            await self.line.wait()
        applied = await super().apply(ops)
        for number, op in enumerate(ops):
            if op.hub in self.damaged:
                applied.outcomes[number] = Damaged(op.hub)
        self._after("apply")
        return applied

    async def claim(self, hubs: Any, worker: str, ring: str = "") -> list[Claim]:
        self._before("claim")
        claims = await super().claim(hubs, worker, ring)
        return [
            Claim(claim.hub, Lease.DAMAGED, error=Damaged(claim.hub))
            if claim.hub in self.damaged
            else claim
            for claim in claims
        ]

    async def commit(self, commits: Any) -> list[Claim]:
        self._before("commit")
        claims = await super().commit(commits)
        self._after("commit")
        return claims

    async def reap(self, bury: Any = None) -> list[tuple[str, str]]:
        self._before("reap")
        return await super().reap(bury)

    async def unclaimed(self) -> list[tuple[str, str]]:
        self._before("unclaimed")
        return await super().unclaimed()

    async def renew(self, leases: Any) -> list[bool]:
        self._before("renew")
        return await super().renew(leases)

    async def beat(self, process: str) -> int:
        self._before("beat")
        life = await super().beat(process)
        self._after("beat")
        return life

    async def bans(self, asked: Any) -> Any:
        self._before("bans")
        return await super().bans(asked)

    async def waiting_in(self, hubs: Any) -> dict[str, int]:
        self._before("waiting_in")
        waiting = await super().waiting_in(hubs)
        if self.gate is not None:
            await self.gate.wait()
        return waiting

    async def epoch(self) -> str:
        return self.era

    async def publish(self, publications: Any) -> Any:
        self._before("publish")
        numbers = await super().publish(publications)
        self._after("publish")
        return [
            Damaged(p.hub) if p.hub in self.damaged else n
            for p, n in zip(publications, numbers, strict=True)
        ]

    async def history(self, hub: str, after: int) -> History:
        self._before("history")
        if hub in self.damaged:
            raise Damaged(hub)
        return await super().history(hub, after)

    async def positions(self, hubs: Any) -> dict[str, Number]:
        self._before("positions")
        return await super().positions(hubs)

    async def told(self, since: Any) -> dict[str, dict[str, int]]:
        self._before("told")
        return await super().told(since)

    async def mail(self, hub: str) -> list[Commit]:
        """Take all of a hub's mail away, as bodies."""
        bodies = []
        (claim,) = await super().claim([hub], "a reader")
        while claim.batch:
            bodies += [letter.body for letter in claim.batch]
            (claim,) = await super().commit([Commit(hub, claim.token, claim.batch[-1].position)])
        return bodies


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


# Connections without a consumer


class Line:
    """The `send` of a socket, for a wire: waits while ``taking`` is not set, raises ``broken``."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.taking = asyncio.Event()
        self.taking.set()
        self.broken: BaseException | None = None
        self.given_up = 0

    async def __call__(self, message: dict[str, Any]) -> None:
        if not self.taking.is_set():
            try:
                await self.taking.wait()
            except BaseException:
                self.given_up += 1
                raise
        if self.broken is not None:
            raise self.broken
        self.sent.append(message)

    @property
    def frames(self) -> list[str | bytes | int]:
        """What was sent, shortly: text, bytes, or the code of a close."""
        return [message.get("text", message.get("bytes", message.get("code"))) for message in self.sent]


def make_connection(
    client_id: str = "ann",
    hub: str = "lobby",
    line: Line | None = None,
    meta: dict[str, Any] | None = None,
    session: str = "",
    **bounds: Any,
) -> Connection:
    return Connection(
        hub=hub,
        client_id=client_id,
        meta=meta or {},
        user_id=None,
        events=EVENTS,
        wire=AsgiWire(line or Line()),
        bounds=Bounds(**bounds),
        session=session,
    )


class Client:
    """A client of this process's relay, without a server or a consumer."""

    def __init__(self, world: "World", client_id: str, hub: str, line: Line | None, bounds: Any) -> None:
        self.world = world
        self.line = line or Line()
        self.connection = make_connection(client_id, hub, self.line, **bounds)

    async def join(self) -> bool:
        return await self.world.relay.clients.join(self.connection)

    async def post(self, data: str) -> bool:
        return await self.world.relay.clients.post(self.connection, data)

    async def leave(self, departure: Departure = GONE) -> None:
        await self.world.relay.clients.leave(self.connection, departure)


async def mail(store: FaultyStore, hub: str = "lobby") -> list[tuple[str, ...]]:
    """The hub's mail, shortly; it is taken away."""
    return [tell(read_body(hub, 0, body)) for body in await store.mail(hub)]


async def declare_all_dead(store: FaultyStore) -> None:
    """No process was heard of for too long, and somebody noticed."""
    store._clock.now += store.limits.process_lease + 1
    await store.reap()


@pytest.fixture
def store(world: "World", settings: Any) -> FaultyStore:
    """A store whose mail nobody takes, beside a layer that can fail."""
    settings.CHANNEL_LAYERS = FAULTY
    settings.DJANGO_HUB = {"STORE": "memory"}
    return world.use_store(FaultyStore(Limits(mailbox=20), Clock()))


@pytest.fixture
async def make(world: "World", store: FaultyStore) -> AsyncIterator[Callable[..., Client]]:
    """Makes clients; they leave with the test, and the mail is thrown away."""
    clients: list[Client] = []

    def make(client_id: str = "ann", hub: str = "lobby", line: Line | None = None, **bounds: Any) -> Client:
        client = Client(world, client_id, hub, line, bounds)
        clients.append(client)
        return client

    yield make
    store = world.store
    for gate in world.layer.gates.values():
        gate.set()
    for client in clients:
        client.line.taking.set()
        if client.connection.joined is not None:
            await asyncio.wait([world.relay.clients.leave(client.connection, GONE)])
    await world.relay.close()
    for record in await store.hubs():
        await store.mail(record.name)


# The world


class World:
    """One test's layer, store, relay, events and sockets."""

    def __init__(self) -> None:
        self.desk = _desk
        self._open = contextlib.AsyncExitStack()

    @property
    def events(self) -> list[Event]:
        return self.desk.events

    @property
    def layer(self) -> Any:
        return channel_layers["default"]

    @property
    def store(self) -> Any:
        return get_store()

    @property
    def relay(self) -> Relay:
        return get_relay()

    def use_store(self, store: MemoryStore) -> Any:
        """Put a store in the place of the process's own, before it is used."""
        registry._shared[:] = [store]
        return store

    async def open(self, application: Any, scope: dict[str, Any], kind: type[Socket] = Socket) -> Socket:
        """A socket that is closed with the test."""
        socket = await self._open.enter_async_context(kind(application, scope))
        return await socket.connect()

    async def open_member(self, client_id: str, hub: str = "lobby") -> Socket:
        """A client that is a member; its `Joined` may not be handled yet."""
        socket = await self.open(OpenConsumer.as_asgi(), websocket_scope(hub, client_id=client_id))
        await until(lambda: self.has_joined(hub, client_id))
        return socket

    async def join(
        self, client_id: str, hub: str = "lobby", consumer: type[HubConsumer] = OpenConsumer, **scope: Any
    ) -> Socket:
        """A client that is a member."""
        socket = await self.open(consumer.as_asgi(), websocket_scope(hub, client_id=client_id, **scope))
        await until(lambda: self.has_joined(hub, client_id))
        await self.relay.idle()
        return socket

    async def has_joined(self, hub: str, client_id: str) -> bool:
        return await self.store.member(hub, client_id) is not None

    async def settled(self) -> None:
        """All that was begun is done, and handled."""
        await self.relay.idle()

    def told(self, hub: str = "lobby") -> list[tuple[str, ...]]:
        """The hub's events, shortly."""
        return [tell(event) for event in self.events if event.hub == hub]

    async def heard(self, *expected: tuple[str, ...], hub: str = "lobby") -> None:
        """Wait for so many events of the hub, and compare."""
        with contextlib.suppress(AssertionError):
            await until(lambda: len(self.told(hub)) >= len(expected))
        assert self.told(hub) == list(expected)

    async def close(self) -> None:
        await self._open.aclose()


def tell(event: Event) -> tuple[str, ...]:
    match event:
        case Joined():
            return ("joined", event.client_id)
        case Message():
            return ("message", event.client_id, event.data)
        case Left():
            return ("left", event.client_id, event.reason)


@pytest.fixture(autouse=True)
async def world(settings: Any) -> AsyncIterator[World]:
    global _desk
    settings.ASGI_APPLICATION = "tests.apps.application"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.DJANGO_HUB = {}
    _desk = Desk()
    world = World()
    yield world
    await world.close()
    gc.collect()
    gc.freeze()  # the next one looks at what is made from here on, not at all there is
    await _nothing_left(world)


def _where(coroutine: Any) -> str:
    """What a task waits in, from the outside inwards."""
    places = []
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        places.append(f"{coroutine.__qualname__}:{frame.f_lineno}")
        coroutine = coroutine.cr_await
    return " > ".join(places) + f" > {coroutine!r}"


async def _nothing_left(world: World) -> None:
    """After the last client: no task on the loop, no hub in the store, no group in the layer."""
    me = asyncio.current_task()
    tasks: list[Any] = []
    with contextlib.suppress(AssertionError):
        await until(lambda: asyncio.all_tasks() == {me}, 3.0 * SCALE)
    tasks = [_where(task.get_coro()) for task in asyncio.all_tasks() - {me}]
    if tasks:
        for task in asyncio.all_tasks() - {me}:
            task.cancel()
    hubs: list[Any] = []
    groups: list[str] = []
    if "default" in channel_layers.configs:
        hubs = await world.store.hubs()
        layer = get_layer()
        groups = list(layer._exchange._groups if isinstance(layer, InMemoryLayer) else layer.layer.groups)
    left = {"tasks": tasks, "hubs": hubs, "groups": groups}
    assert left == {"tasks": [], "hubs": [], "groups": []}, f"left behind: {left}"
