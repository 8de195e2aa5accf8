"""Questions to relays, and their answers: see `answers`."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from django_hub.answers import ANSWER, ASK, fits
from django_hub.backoff import waits
from django_hub.endings import end
from django_hub.exceptions import Unavailable
from django_hub.layers.base import ChannelFull, Layer
from django_hub.logs import get_logger

logger = get_logger(__name__)

# Seconds that relays have; and for which one is not asked that did not answer. Not a number of rounds: who
# lists a large hub, or several who look at different things, would wait for it again and again.
_PATIENCE = 1.0
_SKIPPED = 10.0


class Questions:
    """``async with Questions(layer) as questions``: a channel of its own, as long as somebody looks."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._channel = ""
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        # Until when one is not asked.
        self._silent: dict[str, float] = {}
        self._receiving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._channel = await self._layer.new_channel()
        self._receiving = asyncio.create_task(self._receive())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._receiving is not None:
            await end([self._receiving])
        try:
            await self._layer.stop(self._channel)
        except Unavailable as gone:
            logger.info("%s", gone)

    async def ask(self, questions: Mapping[str, list[Any]]) -> dict[str, Any]:
        """The answers of relays, by their channels, to the question of each. One that does not answer
        within a second, or with what is no answer to it, is left out, and not asked for ten."""
        clock = asyncio.get_running_loop().time
        asked: dict[str, asyncio.Future[Any]] = {}
        numbers = []
        for process, question in questions.items():
            if self._silent.get(process, 0.0) > clock():
                continue
            number = str(next(self._numbers))
            message = {"type": ASK, "number": number, "to": self._channel, "question": json.dumps(question)}
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._waiting[number] = asked[process] = future
            numbers.append(number)
            try:
                await self._layer.send(process, message)
            except ChannelFull:
                future.cancel()
        if asked:
            await asyncio.wait(asked.values(), timeout=_PATIENCE)
        for number in numbers:
            del self._waiting[number]
        answers = {}
        for process, future in asked.items():
            answer = future.result() if future.done() and not future.cancelled() else None
            if answer is not None and fits(questions[process], answer):
                answers[process] = answer
                self._silent.pop(process, None)
            else:
                self._silent[process] = clock() + _SKIPPED
        while len(self._silent) > 1000:
            del self._silent[next(iter(self._silent))]
        return answers

    async def _receive(self) -> None:
        pauses = waits()
        while True:
            try:
                message = await self._layer.receive(self._channel)
            except Unavailable as error:
                logger.warning("No answers come, for now: %s", error)
                await asyncio.sleep(next(pauses))
                continue
            future = self._waiting.get(str(message.get("number")))
            if message.get("type") == ANSWER and future is not None and not future.done():
                try:
                    future.set_result(json.loads(message["answer"]))
                except (KeyError, TypeError, ValueError, RecursionError) as error:
                    logger.warning("An answer that can't be read was dropped: %s", error)
                    future.cancel()
