"""The same things done with django_hub, with stock Channels, and by a bare ASGI application.

``echo``: what a client sends goes to a worker, which answers that client. ``fan``: what a client sends
goes to all clients of its hub. ``voice``: as ``fan``, said by one who is in another hub.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from channels.consumer import AsyncConsumer
from channels.generic.websocket import AsyncWebsocketConsumer

from django_hub import HubConsumer, HubEvents, Message, hub_broadcast, hub_send


class HubEcho(HubConsumer):
    events = "hub-echo"
    rate = None  # as fast as it goes is what is measured

    async def authorize(self) -> bool:
        return True


class HubEchoEvents(HubEvents):
    async def hub_message(self, event: Message) -> None:
        await hub_send(event.client_id, event, hub=event.hub)


class HubFan(HubConsumer):
    events = "hub-fan"
    rate = None  # as fast as it goes is what is measured

    async def authorize(self) -> bool:
        return True

    async def on_message(self, data: str | bytes) -> None:
        await hub_broadcast(self.hub, data)


class HubReturning(HubFan):
    """Its clients have a minute to come back, and need not ping."""

    grace = 60.0
    heartbeat = 3600.0


class HubSpoken(HubFan):
    """For the generator, which offers no subprotocol and never pings: as if it had offered ``hub.v1``."""

    heartbeat = 3600.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await super().__call__({**scope, "subprotocols": ["hub.v1"]}, receive, Unsaid(send).send)


class Unsaid:
    """A `send` that says nothing of a subprotocol, wrapped as Channels' session middleware does it, so that
    the server's own is found behind it."""

    def __init__(self, send: Any) -> None:
        self.real_send = send

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            message = {"type": "websocket.accept"}
        await self.real_send(message)


class HubVoice(HubFan):
    """Where its socket is, nobody hears it. It does not wait for each broadcast before the next one, as
    code that has several to send would not."""

    under_way: ClassVar[set[asyncio.Task[None]]] = set()
    droppable = False

    async def get_hub(self) -> str:
        return "voices"

    async def on_message(self, data: str | bytes) -> None:
        hub = self.scope["url_route"]["kwargs"]["hub"]
        task = asyncio.create_task(hub_broadcast(hub, data, droppable=self.droppable))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)


class HubDroppable(HubVoice):
    """What it says has no number, and is not kept."""

    droppable = True


class HubFanEvents(HubEvents):
    """Who comes and goes is nobody's concern here."""


class StockEcho(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        message = {"type": "echo", "text": text_data, "reply_to": self.channel_name}
        await self.channel_layer.send("stock-echo", message)

    async def answer(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


class StockEchoWorker(AsyncConsumer):
    async def echo(self, event: dict[str, Any]) -> None:
        await self.channel_layer.send(event["reply_to"], {"type": "answer", "text": event["text"]})


class StockFan(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.hub = self.scope["url_route"]["kwargs"]["hub"]
        await self.channel_layer.group_add(self.hub, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.hub, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.channel_layer.group_send(self.hub, {"type": "said", "text": text_data})

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


class BareFan:
    """No Channels, no Django: as many sends in a loop as there are clients."""

    sends: ClassVar[dict[str, dict[object, Any]]] = {}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        others = self.sends.setdefault(scope["path"], {})
        others[self] = send
        try:
            while (message := await receive())["type"] == "websocket.receive":
                answer = {"type": "websocket.send", "text": message["text"]}
                for each in list(others.values()):
                    await each(answer)
        finally:
            del others[self]


async def bare_fan(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await BareFan()(scope, receive, send)
