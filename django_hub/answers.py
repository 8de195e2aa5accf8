"""Answers: what only a relay knows of its clients, told to who asks for it through the channel layer.

A person looks at a site: the store has members and mail, but a client's queue and address are its server's.
Questions and answers are JSON text, so no serializer of a layer can spoil them; each is bounded, and walks
that may be long let others run in between. While nobody asks nothing is counted and nothing runs.
"""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import Sequence
from typing import Any

from django_hub.clients import Clients
from django_hub.exceptions import Unavailable
from django_hub.fanout import Fanout
from django_hub.layers.base import ChannelFull, Layer, Message
from django_hub.logs import get_logger
from django_hub.tasks import Tasks

logger = get_logger(__name__)

ASK = "hub.ask"
ANSWER = "hub.answer"

# What is told of a client.
CLIENT = ("address", "queue", "bytes", "dropped")

# Things asked about in one question, and questions under way.
MOST = 100
_AT_ONCE = 8
# So long after the last question messages are counted, in seconds.
_COUNTED = 10.0
# Hubs looked at between two turns of the loop.
_SLICE = 2000


def fits(question: list[Any], answer: object) -> bool:
    """Whether it is an answer to that; one of a server of another version may be none."""
    match question, answer:
        case ["hubs", names, _], {"messages": int(), "of": list(of), "largest": list(largest)}:
            counted = len(of) == len(names) and all(isinstance(count, int) for count in of)
            return counted and all(isinstance(name, str) for name in largest)
        case ["clients", _, keys], list(told):
            return len(told) == len(keys) and all(
                each is None or (isinstance(each, list) and len(each) == len(CLIENT)) for each in told
            )
    return False


class Answers:
    """Of one relay, on its loop."""

    def __init__(self, layer: Layer, fanout: Fanout, clients: Clients) -> None:
        self._layer = layer
        self._fanout = fanout
        self._clients = clients
        self._tasks = Tasks()
        self._ends: asyncio.TimerHandle | None = None

    def take(self, message: Message) -> None:
        """Answer, soon. What can't be read, and what is too much, is dropped: who asks goes on."""
        if len(self._tasks) >= _AT_ONCE:
            return
        self._tasks.begin(self._answered(message))

    async def idle(self) -> None:
        await self._tasks.idle()

    def stop_counting(self) -> None:
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None
        self._clients.counted = None

    async def _answered(self, message: Message) -> None:
        try:
            question = json.loads(message["question"])
            match question:
                case ["hubs", list(names), bool(largest)]:
                    answer: Any = await self._hubs([str(name) for name in names[:MOST]], largest)
                case ["clients", str(hub), list(keys)]:
                    answer = [self._client(hub, str(key)) for key in keys[:MOST]]
                case _:
                    raise ValueError("it is none of this version")
            text = json.dumps(answer)
            reply = {"type": ANSWER, "number": str(message["number"]), "answer": text}
            await self._layer.send(str(message["to"]), reply)
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("A question that can't be read was dropped: %s", error)
        except (Unavailable, ChannelFull) as error:
            logger.info("A question was not answered: %s", error)

    async def _hubs(self, names: Sequence[str], largest: bool) -> dict[str, Any]:
        counts = self._count()
        return {
            "messages": counts.get("", 0),
            "of": [counts.setdefault(name, 0) for name in names],
            "largest": await self._largest() if largest else [],
        }

    def _count(self) -> dict[str, int]:
        """How many messages came since somebody began to look: in each hub, and in all (``""``)."""
        if self._clients.counted is None:
            self._clients.counted = {"": 0}
        if self._ends is not None:
            self._ends.cancel()
        self._ends = asyncio.get_running_loop().call_later(_COUNTED, self.stop_counting)
        if len(self._clients.counted) > 20 * MOST:
            # Who pages through a large site: what is still shown begins anew.
            self._clients.counted = {"": self._clients.counted[""]}
        return self._clients.counted

    async def _largest(self) -> list[str]:
        found: list[tuple[int, str]] = []
        hubs = self._fanout.hubs()
        least = -1
        for start in range(0, len(hubs), _SLICE):
            sizes = ((self._fanout.size(hub), hub) for hub in hubs[start : start + _SLICE])
            # Most hubs are small, and all alike: there is nothing to sort.
            found = heapq.nlargest(MOST // 2, [*found, *(each for each in sizes if each[0] > least)])
            least = found[-1][0] if len(found) == MOST // 2 else -1
            await asyncio.sleep(0)
        return [name for _, name in found]

    def _client(self, hub: str, key: str) -> list[Any] | None:
        """Address, messages and bytes that wait for it, messages dropped; None: it isn't here."""
        connection = self._fanout.get(hub, key)
        if connection is None:
            return None
        wire = connection.wire
        return [connection.address, wire.waiting_frames, wire.waiting_bytes, wire.dropped]
