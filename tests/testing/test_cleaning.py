"""Nothing is left behind; and nothing is missing within."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from channels.layers import channel_layers
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import TestCase, TransactionTestCase, override_settings

from django_hub.api import hub_broadcast, hub_create, hub_members
from django_hub.layers.choice import get_layer
from django_hub.stores.registry import get_store
from django_hub.testing import HubCommunicator, LeftBehind, assert_broadcast, clean_hubs, drain
from tests.testing.garden import kept


async def test_nothing_is_left_behind():
    before = asyncio.all_tasks()
    outside = get_store(), get_layer(), channel_layers["default"]
    async with clean_hubs():
        store, layer = get_store(), get_layer()
        assert store is not outside[0]
        await hub_create("for ever")
        ann = await HubCommunicator("/ws/rose/?ann", subprotocols=["hub.v1"]).__aenter__()
        await HubCommunicator("/ws/rose/?bob").__aenter__()
        await ann.send("hello")
        await ann.drop()
    assert asyncio.all_tasks() == before
    assert (await get_store().hubs(), [m async for m in hub_members()]) == ([], [])
    assert (layer._exchange._groups, layer._exchange._trays) == ({}, {})
    assert channel_layers["default"] is not layer.layer


def test_a_client_that_no_block_left_is_no_matter_of_the_next_test():
    async def forgets():
        await HubCommunicator("/ws/rose/").__aenter__()

    async def another():
        async with clean_hubs(), HubCommunicator("/ws/rose/"):
            await hub_broadcast("rose", "x")
            assert_broadcast("rose", "x")

    asyncio.run(forgets())
    with pytest.raises(RuntimeError, match="knows only of"):
        assert_broadcast("rose", "x")
    asyncio.run(forgets())
    asyncio.run(another())


async def test_a_task_that_a_handler_left_is_named_and_ended():
    with pytest.raises(LeftBehind, match=r"a forgotten task: .*sleep"):
        async with clean_hubs(), HubCommunicator("/ws/rose/") as ann:
            await ann.send("leak")
            await drain()
    assert kept.pop().cancelled()
    with pytest.raises(KeyError):
        async with clean_hubs(), HubCommunicator("/ws/rose/") as ann:
            await ann.send("leak")
            await drain()
            raise KeyError
    assert kept.pop().cancelled()


async def test_a_failure_that_nobody_was_told_of_is():
    with pytest.raises(ValueError, match="the handler broke"):
        async with clean_hubs(), HubCommunicator("/ws/rose/") as ann:
            await ann.send("fail")
            await asyncio.sleep(0)
            await asyncio.sleep(0)


async def test_the_settings_are_the_projects_again(settings):
    settings.CHANNEL_LAYERS = {"mine": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
    settings.DJANGO_HUB = {"LAYER": "mine", "BATCH": 7}
    async with clean_hubs():
        assert get_layer().in_memory
        assert (settings.DJANGO_HUB["BATCH"], settings.DJANGO_HUB["STORE"]) == (7, "memory")
    assert settings.DJANGO_HUB == {"LAYER": "mine", "BATCH": 7}


# The database


async def count_and_make():
    async with HubCommunicator("/ws/rose/") as ann:
        await drain()
        await ann.send("count")
        assert await ann.receive() == "1"
        await ann.send("make")
        await drain()
        assert await get_user_model().objects.acount() == 2
        assert_broadcast("rose", {"said": "make"})


@pytest.mark.django_db
async def test_the_handlers_are_in_the_tests_transaction(clean_hubs, hub_connections):
    await get_user_model().objects.acreate(username="the test's")
    await count_and_make()
    assert await sync_to_async(lambda: connections["default"])() is hub_connections[0]


@pytest.mark.django_db
async def test_and_leave_no_rows():
    assert await sync_to_async(get_user_model().objects.count)() == 0


async def test_whatever_is_named_first(clean_hubs, db):
    await get_user_model().objects.acreate(username="the test's")
    await count_and_make()


@pytest.mark.django_db(transaction=True)
async def test_without_a_transaction(clean_hubs):
    await get_user_model().objects.acreate(username="the test's")
    await count_and_make()


async def test_connections_are_closed(transactional_db):
    def opened():
        connections["default"].ensure_connection()
        return connections["default"]

    async with clean_hubs():
        theirs = await sync_to_async(opened)()
        assert theirs is not connections["default"]
        assert theirs.connection is not None
    assert theirs.connection is None
    assert await sync_to_async(lambda: list(connections.all(initialized_only=True)))() == []


@override_settings(ASGI_APPLICATION="tests.testing.garden.application")
class InATransaction(TestCase):
    async def test_hubs(self):
        await get_user_model().objects.acreate(username="the test's")
        async with clean_hubs():
            await count_and_make()
        assert await get_user_model().objects.acount() == 2


@override_settings(ASGI_APPLICATION="tests.testing.garden.application")
class WithoutATransaction(TransactionTestCase):
    async def test_hubs(self):
        await get_user_model().objects.acreate(username="the test's")
        async with clean_hubs():
            await count_and_make()

    async def test_again(self):
        assert await get_user_model().objects.acount() == 0
        async with clean_hubs():
            await hub_broadcast("rose", "x")
            assert_broadcast("rose", "x")
