"""What may happen, and how it is played."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

from django.test import override_settings
from hypothesis import strategies as st

from django_hub import consumers, delivery, presence, service
from tests.model.faults import HISTORY, Memory
from tests.model.loops import JumpingLoop
from tests.model.world import NAMES, Step, World, here

seeds = st.integers(0, 2**16)
_servers = st.integers(0, 1)
_guests = st.integers(0, len(NAMES) - 1)
_delays = st.sampled_from((0.0, 0.0, 0.5, 20.0))
_come = st.tuples(st.just("come"), _guests, _servers, st.sampled_from((True, True, True, False)))
_broadcast = st.tuples(st.just("broadcast"), _servers, st.integers(1, 4))
_wait = st.tuples(st.just("wait"), st.sampled_from((0.0, 0.01, 0.1, 0.5, 3.0, 20.0)))
_common = st.one_of(
    _come,
    _come,
    st.tuples(st.just("drop"), _guests, _delays),
    _broadcast,
    _broadcast,
    st.tuples(st.just("tell"), _servers, _guests),
    st.tuples(st.just("say"), _guests, st.sampled_from(("message", "request"))),
    st.tuples(st.just("listen"), _servers),
    st.tuples(st.just("unplug"), _delays),
    _wait,
    _wait,
)
kill = st.tuples(st.just("kill"), _servers)
empty = st.just(("empty",))
restart = st.just(("restart",))
back = st.sampled_from([("save",), ("put_back",)])


def steps(*rare: st.SearchStrategy[Step], most: int = 40) -> st.SearchStrategy[list[Step]]:
    """``rare``: what happens beside what always does."""
    return st.lists(st.one_of(*[_common] * max(1, 2 * len(rare)), *rare), max_size=most)


class _Errors(logging.Handler):
    """What the code says of exceptions that it did not expect."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(self.format(record))


@contextlib.contextmanager
def _no_errors() -> Iterator[None]:
    errors = _Errors()
    logger = logging.getLogger()
    logger.addHandler(errors)
    try:
        yield
    finally:
        logger.removeHandler(errors)
    assert errors.found == []


def play(seed: int, happening: list[Step], make_store: Callable[[], Any] = Memory) -> None:
    async def played() -> None:
        store = make_store()
        try:
            if not isinstance(store, Memory):
                await store.begin()
            await World(seed, store).play(happening)
        finally:
            await _swept()
            await store.close()

    with (
        override_settings(DJANGO_HUB={"HISTORY_SIZE": HISTORY}),
        patch.object(consumers, "get_relay", here.get),
        patch.object(presence, "get_relay", here.get),
        patch.object(delivery, "get_relay", here.get),
        patch.object(delivery, "get_store", lambda: here.get().store),
        patch.object(service, "aclose_old_connections", _no_databases),
        _no_errors(),
        asyncio.Runner(loop_factory=JumpingLoop) as runner,
    ):
        runner.run(played())


async def _swept() -> None:
    """End what dead processes left, or all where something was wrong. What ends may begin something."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=1.0)


async def _no_databases() -> None:
    """Nobody here has a connection to one; it would take a hop to a thread."""
