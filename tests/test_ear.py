"""The ear of a relay, on a layer that lets it hang; `tests/test_relay.py` has it in its relay."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from django_hub import ear as module
from django_hub.ear import Ear
from django_hub.endings import end
from django_hub.fanout import Fanout
from django_hub.layers.base import Layer
from django_hub.ordering import Ordering
from tests.apps import FaultyLayer, FaultyStore
from tests.apps import world as world
from tests.sockets import turns


async def deaf() -> tuple[Ear, FaultyLayer, list[str]]:
    """One that has spoken, and heard nothing."""
    layer, anew = FaultyLayer(), []
    layer.gates["receive"] = asyncio.Event()

    async def noted() -> None:
        anew.append("anew")

    taker = Ordering(FaultyStore(), Fanout())
    ear = Ear(Layer(layer), taker, lambda _: None, 0.0, noted)
    ear.begin("specific.us!1")
    await ear.look()
    assert anew == []
    return ear, layer, anew


async def test_where_it_heard_nothing_it_listens_anew() -> None:
    ear, layer, anew = await deaf()
    del layer.gates["receive"]
    await ear.look()
    assert anew == ["anew"]
    await turns()
    assert ear.hearing.silence == 0.0
    await end(ear.stop())


async def test_one_that_is_stopped_meanwhile_does_not_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ear, layer, anew = await deaf()

    async def stopped(tasks: Collection[asyncio.Task[Any]]) -> None:
        ear.stop()
        await end(tasks)

    monkeypatch.setattr(module, "end", stopped)
    said = layer.calls.count(("send", "specific.us!1"))
    await ear.look()
    assert ear.stop() == anew == []
    assert layer.calls.count(("send", "specific.us!1")) == said
