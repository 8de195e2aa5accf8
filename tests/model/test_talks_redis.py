"""The model on a real broker: see `tests.model`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator

import pytest
from hypothesis import Phase, example, given, settings

from tests.live.servers import Broker, valkey
from tests.model.broker import OnBroker
from tests.model.plays import back, empty, kill, play, restart, seeds, steps
from tests.model.world import Step

pytestmark = pytest.mark.broker


def _settings(examples: int) -> settings:
    # No shrinking: it takes minutes on a server, and the seed repeats a failure.
    return settings(max_examples=examples, phases=[Phase.explicit, Phase.reuse, Phase.generate])


@pytest.fixture(scope="module")
def keeper() -> Iterator[Broker]:
    """A broker that keeps what it is told to, and nothing else."""
    broker = valkey(appendonly="no", **{"enable-debug-command": "local"})
    asyncio.run(broker.start())
    yield broker
    asyncio.run(broker.stop())


@_settings(5)
@given(seeds, steps(empty, restart, kill))
def test_a_broker_that_is_flushed_or_reloaded(keeper: Broker, seed: int, happening: list[Step]) -> None:
    play(seed, happening, functools.partial(OnBroker, keeper, really=False))


@_settings(3)
@given(seeds, steps(empty, restart, back, kill, most=20))
def test_a_broker_that_is_restarted(keeper: Broker, seed: int, happening: list[Step]) -> None:
    play(seed, happening, functools.partial(OnBroker, keeper, really=True))


@settings(phases=[Phase.explicit])
@example(450)
@given(seeds)
def test_what_an_earlier_play_saved_is_not_put_back(keeper: Broker, seed: int) -> None:
    saves: list[Step] = [("come", 0, 0, True), ("come", 1, 1, True), ("wait", 3.0), ("broadcast", 0, 4)]
    goes_back: list[Step] = [("tell", 1, 1), ("come", 0, 1, True), ("tell", 0, 0), ("listen", 0)]
    goes_back += [("come", 1, 0, True), ("wait", 20.0), ("listen", 0), ("come", 0, 1, False)]
    for happening in ([*saves, ("wait", 3.0), ("save",)], [*goes_back, ("put_back",)]):
        play(seed, happening, functools.partial(OnBroker, keeper, really=False))


@pytest.mark.heavy
@pytest.mark.timeout(900)
@_settings(60)
@given(seeds, steps(empty, restart, back, kill))
def test_more_of_both(keeper: Broker, seed: int, happening: list[Step]) -> None:
    play(seed, happening, functools.partial(OnBroker, keeper, really=bool(seed % 2)))
