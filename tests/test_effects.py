"""What handlers send: where to, and waited for before their batch is committed."""

import asyncio
from typing import Any

import pytest

from django_hub import effects as module
from django_hub.effects import Effects, effects_in_hand
from django_hub.stores.memory import MemoryStore
from django_hub.stores.ops import Address
from tests.apps import make_connection
from tests.sockets import turns


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


async def join(store: MemoryStore, client_id: str, process: str) -> Address:
    connection = make_connection(client_id)
    await store.apply([connection.join_op(process)])
    return Address(process, connection.id)


async def test_who_has_letters_in_the_batch_is_known(store: MemoryStore) -> None:
    here = Address("p1", "c1")
    effects = Effects(store, "lobby", {"ann": here})
    assert await effects.address("ann") == here


async def test_others_are_asked_for_and_remembered(store: MemoryStore) -> None:
    effects = Effects(store, "lobby", {})
    assert await effects.address("bob") is None
    there = await join(store, "bob", "p1")
    assert await effects.address("bob") == there
    await join(store, "bob", "p2")
    assert await effects.address("bob") == there


async def test_what_is_known_gets_old(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow handler's batch takes minutes: who came back meanwhile is elsewhere."""
    monkeypatch.setattr(module, "_FRESH", -1.0)
    effects = Effects(store, "lobby", {"ann": Address("p1", "old")})
    back = await join(store, "ann", "p2")
    assert await effects.address("ann") == back


async def test_a_batch_waits_for_what_it_sent(store: MemoryStore) -> None:
    sent: list[asyncio.Future[Any]] = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def batch() -> None:
        async with Effects(store, "lobby", {}) as _:
            effects = effects_in_hand()
            assert effects is not None
            await effects.add(sent)
        assert effects_in_hand() is None

    task = asyncio.create_task(batch())
    for future in sent:
        await turns()
        assert not task.done()
        future.set_result(None)
    await task


async def test_who_is_cancelled_while_it_waits_takes_nothing_back(store: MemoryStore) -> None:
    sent: list[asyncio.Future[Any]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
    effects = Effects(store, "lobby", {})
    await effects.add(sent)
    waiting = asyncio.create_task(effects.done())
    await turns()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert not any(future.cancelled() for future in sent)
    again = asyncio.create_task(effects.done())
    for future in sent:
        await turns()
        assert not again.done()
        future.set_result(None)
    await again
