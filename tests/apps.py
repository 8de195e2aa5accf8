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
from channels.layers import InMemoryChannelLayer, channel_layers
from channels.routing import ChannelNameRouter, ProtocolTypeRouter

from django_hub.connection import Bounds, Connection
from django_hub.consumers import HubConsumer
from django_hub.events import Event, Joined, Left, Message
from django_hub.exceptions import Unavailable
from django_hub.limits import Limits
from django_hub.relay import Relay, get_relay
from django_hub.stores.memory import MemoryStore
from django_hub.stores.ops import Applied, Claim, Commit, Op
from django_hub.stores.registry import get_store
from django_hub.wires.asgi import AsgiWire
from django_hub.workers import HubEvents
from tests.sockets import Socket, until, websocket_scope

EVENTS = "test-events"


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


class FaultyLayer(InMemoryChannelLayer):
    """``fail[name]`` calls of a method still raise; ``gates[name]`` holds its calls until it is set."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.fail: dict[str, int] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.calls: list[tuple[str, ...]] = []

    async def _meet(self, name: str, *about: str) -> None:
        self.calls.append((name, *about))
        if name in self.gates:
            await self.gates[name].wait()
        if self.fail.get(name):
            self.fail[name] -= 1
            raise ConnectionError(f"no {name} now")

    async def new_channel(self, prefix: str = "specific.") -> str:
        await self._meet("new_channel")
        return await super().new_channel(prefix)

    async def receive(self, channel: str) -> dict[str, Any]:
        await self._meet("receive", channel)
        return await super().receive(channel)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._meet("send", channel)
        await super().send(channel, message)

    async def group_add(self, group: str, channel: str) -> None:
        await self._meet("group_add", group)
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._meet("group_discard", group)
        await super().group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._meet("group_send", group)
        await super().group_send(group, message)


FAULTY = {"default": {"BACKEND": "tests.apps.FaultyLayer"}}


class FaultyStore(MemoryStore):
    """The memory store behind a bad line: ``lost[name]`` replies are lost after the work is done, and
    ``fail[name]`` exceptions are raised instead of it."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] | None = None) -> None:
        super().__init__(limits, *([clock] if clock else []))
        self.lost: dict[str, int] = {}
        self.fail: dict[str, list[Exception]] = {}
        self.calls: list[str] = []
        self.applied: list[list[Op]] = []

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
        applied = await super().apply(ops)
        self._after("apply")
        return applied

    async def claim(self, hubs: Any, worker: str) -> list[Claim]:
        self._before("claim")
        return await super().claim(hubs, worker)

    async def commit(self, commits: Any) -> list[Claim]:
        self._before("commit")
        claims = await super().commit(commits)
        self._after("commit")
        return claims

    async def renew(self, leases: Any) -> list[bool]:
        self._before("renew")
        return await super().renew(leases)

    async def beat(self, process: str) -> bool:
        self._before("beat")
        return await super().beat(process)

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
    client_id: str = "ann", hub: str = "lobby", line: Line | None = None, **bounds: int
) -> Connection:
    return Connection(
        hub=hub,
        client_id=client_id,
        meta={},
        user_id=None,
        events=EVENTS,
        wire=AsgiWire(line or Line()),
        bounds=Bounds(**bounds),
    )


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
        from django_hub.stores import registry

        registry._stores["memory"] = store
        return store

    async def open(self, application: Any, scope: dict[str, Any]) -> Socket:
        """A socket that is closed with the test."""
        socket = await self._open.enter_async_context(Socket(application, scope))
        return await socket.connect()

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
    await _nothing_left(world)


async def _nothing_left(world: World) -> None:
    """After the last client: no task on the loop, no hub in the store, no group in the layer."""
    me = asyncio.current_task()
    tasks: list[Any] = []
    with contextlib.suppress(AssertionError):
        await until(lambda: asyncio.all_tasks() == {me})
    tasks = [repr(task.get_coro()) for task in asyncio.all_tasks() - {me}]
    if tasks:
        for task in asyncio.all_tasks() - {me}:
            task.cancel()
    hubs = await world.store.hubs() if "default" in channel_layers.configs else []
    groups = world.layer.groups if "default" in channel_layers.configs else {}
    left = {"tasks": tasks, "hubs": hubs, "groups": groups}
    assert left == {"tasks": [], "hubs": [], "groups": {}}, "left behind"
