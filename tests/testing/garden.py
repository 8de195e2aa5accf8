"""The application that these tests test."""

import asyncio

from channels.auth import AuthMiddlewareStack
from channels.exceptions import DenyConnection
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from django.contrib.auth import get_user_model
from django.urls import path

from django_hub.api import hub_broadcast, hub_send
from django_hub.consumers import HubConsumer
from django_hub.messages import Json
from django_hub.workers import HubEvents

kept = []


class GardenConsumer(HubConsumer):
    events = "garden-events"
    presence = True

    async def authorize(self):
        if self.hub == "denied":
            raise DenyConnection
        return self.hub != "locked"

    async def may_send(self):
        return self.hub != "library"

    async def get_client_id(self):
        return self.scope["query_string"].decode() or None

    async def on_message(self, data):
        if data == "break":
            raise ZeroDivisionError("the consumer broke")
        await self.post(data)


class MembersConsumer(HubConsumer):
    events = "garden-events"


class GardenEvents(HubEvents):
    async def hub_message(self, event):
        match event.data:
            case "slow":
                await asyncio.sleep(0.05)
            case "fail":
                raise ValueError("the handler broke")
            case "leak":
                kept.append(asyncio.create_task(asyncio.sleep(3600), name="a forgotten task"))
            case "count":
                await hub_send(
                    event.client_id, Json(await get_user_model().objects.acount()), hub=event.hub
                )
                return
            case "make":
                await get_user_model().objects.acreate(username="made")
        if event.request is not None:
            await event.reply({"answer": event.data})
        await hub_broadcast(event.hub, {"said": event.data})
        await hub_send(event.client_id, "thanks", hub=event.hub)


class EchoConsumer(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "break":
            raise ZeroDivisionError("the echo broke")
        if text_data == "hang":
            await asyncio.sleep(3600)
        await asyncio.sleep(0.05)
        await self.send(text_data=text_data)


application = ProtocolTypeRouter(
    {
        "websocket": AuthMiddlewareStack(
            URLRouter(
                [
                    path("ws/members/<hub>/", MembersConsumer.as_asgi()),
                    path("ws/echo/", EchoConsumer.as_asgi()),
                    path("ws/<hub>/", GardenConsumer.as_asgi()),
                ]
            )
        ),
        "channel": ChannelNameRouter({"garden-events": GardenEvents.as_asgi()}),
    }
)
