"""The few calls into Channels' layer. "Group" and "channel" are its words, and stay here and in `names`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from channels.exceptions import ChannelFull

from django_hub.backoff import waits
from django_hub.entries import Entry
from django_hub.exceptions import Damaged, Unavailable
from django_hub.logs import get_logger

logger = get_logger(__name__)

# A channel that is full for so long, in seconds, is given up: all that is sent waits for it meanwhile.
PATIENCE = 10.0
# Calls under way at once.
_AT_ONCE = 32

__all__ = ["PATIENCE", "ChannelFull", "Layer", "Message", "Taker", "Target", "told"]

Message: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Target:
    """A relay's channel, or a group whose channels the layer does not tell."""

    name: str
    is_group: bool = False


class Taker(Protocol):
    """Who takes entries for one relay, on its loop."""

    @property
    def is_full(self) -> bool: ...

    async def room(self) -> None:
        """Return when it is not full."""

    def put(self, entries: Sequence[Entry]) -> object: ...


class Layer:
    """A channel layer as hubs use it.

    A relay has a channel of its own, in the groups of its hubs; a hub's worker listens on a channel that
    its project names. ``in_memory``: the layer reaches its own process only.
    """

    in_memory = False

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self._stuck: set[str] = set()

    @property
    def group_expiry(self) -> float:
        """Seconds after which a layer forgets a group's channel that was not added again."""
        return float(getattr(self.layer, "group_expiry", 86400))

    async def new_channel(self) -> str:
        """A channel for the relay of the running loop. Raises `Unavailable`."""
        with told():
            channel: str = await self.layer.new_channel()
        return channel

    async def stop(self, channel: str, unread: Sequence[Message] = ()) -> None:
        """Receive on the channel no more. What was taken and not read goes to whoever receives on it
        elsewhere, if the layer has one queue for all of them. Raises `Unavailable`."""

    def is_heard(self, channel: str) -> bool:  # noqa: ARG002
        """Does another loop of this process receive on the channel?"""
        return False

    async def receive(self, channel: str) -> Message:
        """Raises `Unavailable`. What is no message at all is dropped: others may send to our channels."""
        while True:
            with told():
                message = await self._receive(channel)
            if isinstance(message, dict):
                return message
            logger.warning("What came on %s is no message and was dropped: %.200r", channel, message)

    async def _receive(self, channel: str) -> Any:
        return await self.layer.receive(channel)

    async def send(self, channel: str, message: Message) -> None:
        """Raises `ChannelFull` where the channel is at its capacity, and `Unavailable`."""
        with told():
            await self.layer.send(channel, message)

    def hand_over(self, target: Target, entry: Entry) -> bool:  # noqa: ARG002
        """Give the entry to all relays there at once. False: the layer must send it, and nobody got it."""
        return False

    def taken_by(self, channel: str, taker: Taker) -> None:
        """What is handed over to the channel goes to ``taker``, on the running loop."""

    async def deliver(self, messages: Mapping[Target, Message]) -> dict[Target, Exception]:
        """Send each target its message, waiting while a channel is full. Never raises.

        Returns those that did not get it, each with why: `Unavailable`, and it may be tried again; or
        `ChannelFull`: it stayed full for `PATIENCE` seconds, so it belongs to a process that is dead or
        hangs, and nobody waits for it again until it takes something.
        """
        failures: dict[Target, Exception] = {}
        targets = list(messages)
        for start in range(0, len(targets), _AT_ONCE):
            some = targets[start : start + _AT_ONCE]
            answers = await asyncio.gather(
                *(self._deliver(target, messages[target]) for target in some), return_exceptions=True
            )
            failures |= {
                target: answer
                for target, answer in zip(some, answers, strict=True)
                if isinstance(answer, Exception)
            }
        return failures

    async def _deliver(self, target: Target, message: Message) -> None:
        if target.is_group:
            with told():
                await self.layer.group_send(target.name, message)
        else:
            await self._send_when_free(target.name, message)

    async def _send_when_free(self, channel: str, message: Message) -> None:
        clock = asyncio.get_running_loop().time
        gives_up = clock() + (0 if channel in self._stuck else PATIENCE)
        pauses = waits(first=0.01, most=0.2)
        while True:
            try:
                await self.send(channel, message)
            except ChannelFull:
                if clock() >= gives_up:
                    self._stuck.add(channel)
                    raise
                await asyncio.sleep(next(pauses))
            else:
                self._stuck.discard(channel)
                return

    async def group_add(self, group: str, channel: str) -> None:
        """Raises `Unavailable`."""
        with told():
            await self.layer.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Raises `Unavailable`."""
        with told():
            await self.layer.group_discard(group, channel)

    async def bury(self, process: str, died: float, groups: Collection[str]) -> None:
        """A relay is dead: take its channel out of groups, where the layer does not do it by itself.

        Not out of those in which it is again since it ``died`` (seconds since the epoch).
        Raises `Unavailable`.
        """

    async def routes(self, groups: Collection[str]) -> Mapping[str, Sequence[str]]:  # noqa: ARG002
        """The channels of these groups; nothing, where the layer can't tell them.

        With them, what is for several groups goes to a relay as one message. Raises `Unavailable`.
        """
        return {}


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Make of a lost broker what it is: not the caller's fault, and not for ever."""
    try:
        yield
    except _broker_errors() as error:
        if "WRONGTYPE" in str(error):
            raise Damaged(
                "The channel layer's broker: something else has written to a key of the layer. Give the "
                f"layer another prefix, or delete that key ({error})."
            ) from error
        raise Unavailable(f"The channel layer's broker: {type(error).__name__}: {error}") from error


@functools.cache
def _broker_errors() -> tuple[type[Exception], ...]:
    try:
        from redis.exceptions import RedisError  # an extra: only there with Redis
    except ImportError:
        return (OSError,)
    return (OSError, RedisError)
