"""Hubs whose server a test looks into: as `tests.live.desk`, with consumers, events, and broadcasts."""

import asyncio
import os
from pathlib import Path
from typing import Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from django_hub import HubConsumer, HubEvents, hub_add, hub_broadcast, hub_destroy, sync
from django_hub import connection as hub_connection
from django_hub.events import Event, Left
from django_hub.relay import get_relay
from tests.live import desk

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()
settings.ASGI_APPLICATION = f"{__name__}.application"

left: dict[str, Left] = {}


class Room(HubConsumer):
    events = "rooms"
    sockets = 0

    async def __call__(self, *args: Any) -> None:
        Room.sockets += 1
        try:
            await super().__call__(*args)
        finally:
            Room.sockets -= 1

    async def authorize(self) -> bool:
        return True

    async def get_client_id(self) -> str:
        client_id: str = self.scope["url_route"]["kwargs"]["client_id"]
        return client_id

    async def on_message(self, data: str | bytes) -> None:
        await hub_broadcast(self.hub, data)


class Dropping(Room):
    when_slow = "drop_oldest"
    max_queue_bytes = 200_000


class Newest(Room):
    when_slow = "latest"
    max_queue_bytes = 200_000


class Stock(AsyncWebsocketConsumer):
    """No consumer of ours: it is put into the hub, and then accepts, in the order of stock `group_add`."""

    async def connect(self) -> None:
        kwargs = self.scope["url_route"]["kwargs"]
        await hub_add(kwargs["hub"], self, kwargs["client_id"])
        await self.accept()


class Early(AsyncWebsocketConsumer):
    """As `Stock`, and its hub does not wait for it."""

    async def connect(self) -> None:
        kwargs = self.scope["url_route"]["kwargs"]
        await hub_add(kwargs["hub"], self, kwargs["client_id"])
        await burst(kwargs["hub"], 0, 10)
        await get_relay().idle()
        if kwargs["client_id"] == "refused":
            await self.close()
            return
        await self.accept()
        await burst(kwargs["hub"], 10, 20)


class EarlyInThreads(WebsocketConsumer):
    def connect(self) -> None:
        kwargs = self.scope["url_route"]["kwargs"]
        sync.hub_add(kwargs["hub"], self, kwargs["client_id"])
        for number in range(10):
            sync.hub_broadcast(kwargs["hub"], f"{number} early")
        if kwargs["client_id"] == "refused":
            self.close()
            return
        self.accept()
        for number in range(10, 20):
            sync.hub_broadcast(kwargs["hub"], f"{number} late")


class RoomEvents(HubEvents):
    async def handle(self, event: Event) -> None:
        if isinstance(event, Left):
            left[event.client_id] = event


async def broadcast(hub: str, start: int, stop: int, size: int, keys: int = 0) -> None:
    """Messages that begin with their number; with ``keys`` each has one of so many."""
    for number in range(start, stop):
        key = f"price {number % keys}" if keys else ""
        await hub_broadcast(hub, f"{number} ".ljust(size, "x"), key=key)
    await get_relay().idle()


async def broadcast_until_left(hub: str, client_id: str, size: int) -> int:
    """How many it took."""
    number = 0
    while client_id not in left:
        await hub_broadcast(hub, f"{number} ".ljust(size, "x"))
        await asyncio.sleep(0)
        number += 1
    return number


async def burst(hub: str, start: int, stop: int) -> None:
    await asyncio.gather(*(hub_broadcast(hub, f"{number} burst") for number in range(start, stop)))


async def destroy_amid_broadcasts(hub: str, waiting: int) -> int:
    """Once so many messages wait for each client. How many were sent before, those that waited included."""
    number = 0
    while number < 20 or any(c.wire.waiting_frames < waiting for c in get_relay().fanout):
        await hub_broadcast(hub, f"{number} ".ljust(20_000 if waiting else 10, "x"))
        await get_relay().idle()
        number += 1
    await asyncio.gather(
        burst(hub, number, number + 10), hub_destroy(hub), burst(hub, number + 10, number + 20)
    )
    return number


def farewell(client_id: str) -> tuple[Any, ...] | None:
    """Why it left, and the numbers of what it did not get."""
    event = left.get(client_id)
    return event and (event.reason, event.code, [int(str(m).split()[0]) for m in event.undelivered])


def wire_of(client_id: str) -> str:
    return next(type(c.wire).__name__ for c in get_relay().fanout if c.client_id == client_id)


def waiting_for(client_id: str) -> int:
    return next(c.wire.waiting_bytes for c in get_relay().fanout if c.client_id == client_id)


def here() -> int:
    return len(get_relay().clients)


def last_words(seconds: float = hub_connection._LAST_WORDS) -> None:
    """Without a number: what it was."""
    hub_connection._LAST_WORDS = seconds


def kilobytes() -> int:
    """What this process has of the machine's memory."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


desk.names.update(globals())

application = ProtocolTypeRouter(
    {
        "websocket": URLRouter(
            [
                path("hub/<hub>/<client_id>/", Room.as_asgi()),
                path("dropping/<hub>/<client_id>/", Dropping.as_asgi()),
                path("newest/<hub>/<client_id>/", Newest.as_asgi()),
                path("stock/<hub>/<client_id>/", Stock.as_asgi()),
                path("early/<hub>/<client_id>/", Early.as_asgi()),
                path("threads/<hub>/<client_id>/", EarlyInThreads.as_asgi()),
                path("desk", desk.application),
            ]
        ),
        "channel": ChannelNameRouter({"rooms": RoomEvents.as_asgi(), "hub-events": RoomEvents.as_asgi()}),
    }
)
