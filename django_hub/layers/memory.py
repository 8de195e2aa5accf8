"""The in-memory layer: this process only."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from channels.layers import InMemoryChannelLayer

from django_hub.entries import Entry
from django_hub.layers.base import Layer, Message, Taker, Target
from django_hub.layers.exchange import Exchange


class InMemoryLayer(Layer):
    """Relays are reached through an `Exchange`, everybody else through the in-memory layer.

    That layer's queues wake nobody on another loop: so a message is handed to the loop that receives.
    """

    in_memory = True

    def __init__(self, layer: InMemoryChannelLayer) -> None:
        super().__init__(layer)
        self._exchange = Exchange()
        self._receiving: weakref.WeakValueDictionary[str, asyncio.AbstractEventLoop] = (
            weakref.WeakValueDictionary()
        )

    async def new_channel(self) -> str:
        return self._exchange.new_channel()

    def hand_over(self, target: Target, entry: Entry) -> bool:
        return self._exchange.hand_over(target, entry)

    def taken_by(self, channel: str, taker: Taker) -> None:
        self._exchange.taken_by(channel, taker)

    async def stop(self, channel: str, unread: Sequence[Message] = ()) -> None:  # noqa: ARG002
        self._exchange.drop_channel(channel)

    def is_heard(self, channel: str) -> bool:
        there = self._receiving.get(channel)
        return there is not None and there is not asyncio.get_running_loop() and there.is_running()

    async def _receive(self, channel: str) -> Any:
        if self._exchange.knows(channel):
            return await self._exchange.receive(channel)
        self._receiving[channel] = asyncio.get_running_loop()
        return await self.layer.receive(channel)

    async def send(self, channel: str, message: Message) -> None:
        if self._exchange.knows(channel):
            return await self._exchange.send(channel, message)
        there = self._receiving.get(channel)
        if there is None or not self.is_heard(channel):
            return await super().send(channel, message)
        call = asyncio.run_coroutine_threadsafe(super().send(channel, message), there)
        return await asyncio.wrap_future(call)

    async def group_add(self, group: str, channel: str) -> None:
        self._exchange.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        self._exchange.group_discard(group, channel)

    async def routes(self, groups: Collection[str]) -> Mapping[str, Sequence[str]]:
        return {group: self._exchange.channels(group) for group in groups}
