"""The pump: takes this process's parcels from the channel layer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from django_hub.answers import ASK
from django_hub.backoff import waits
from django_hub.exceptions import Unavailable
from django_hub.layers.base import Layer, Message, Taker
from django_hub.logs import get_logger
from django_hub.parcels import unpack
from django_hub.tallies import tallies

logger = get_logger(__name__)


# Parcels by whose numbers a repeated one is known: more than come while a sender tries again.
_REMEMBERED = 10_000

# What a relay sends to itself to see that it hears, with its clock's time as ``at``.
PING = "hub.ping"

_Heard = Callable[[float | None], None]


def _unasked(message: Message) -> None:
    """A pump of nobody who answers."""


async def pump(
    layer: Layer,
    channel: str,
    taker: Taker,
    heard: _Heard,
    asked: Callable[[Message], None] = _unasked,
) -> None:
    """Hand what comes to ``taker``, until cancelled. A parcel that can't be read is dropped, a layer that
    fails is tried again. ``heard`` is called at all that comes, with when it was sent where it is a ping;
    ``asked`` with each question.

    One for the whole process, never cancelled for one client: a cancelled receive of the Redis layer
    can lose what it had taken, of everybody.
    """
    try:
        await _pump(layer, channel, taker, heard, asked)
    finally:
        await layer.stop(channel)


async def _pump(
    layer: Layer,
    channel: str,
    taker: Taker,
    heard: _Heard,
    asked: Callable[[Message], None],
) -> None:
    pauses = waits()
    away = False
    seen: dict[object, None] = {}
    while True:
        await taker.room()
        try:
            message = await layer.receive(channel)
        except Unavailable as error:
            away = True
            logger.warning("Nothing comes on %s, for now: %s", channel, error)
            await asyncio.sleep(next(pauses))
            continue
        except Exception:
            logger.exception("The channel layer gave nothing on %s; trying again", channel)
            await asyncio.sleep(next(pauses))
            continue
        pauses = waits()
        if away:
            away = False
            tallies.reconnects["layer"] += 1
        if message.get("type") == PING:
            at = message.get("at")
            heard(at if isinstance(at, float) else None)
            continue
        heard(None)
        if message.get("type") == ASK:
            asked(message)
            continue
        try:
            entries = unpack(message)
        except (ValueError, TypeError, KeyError) as error:
            logger.warning("A message on %s that is no parcel was dropped: %s", channel, error)
            continue
        # Its sender did not hear that it had come, and sent it again.
        number = str(message.get("number", ""))
        if number in seen:
            continue
        if number:
            seen[number] = None
            if len(seen) > _REMEMBERED:
                del seen[next(iter(seen))]
        taker.put(entries)
