"""manage.py hubs, on a real Valkey."""

import asyncio
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_hub.stores.hosts import connect
from django_hub.stores.ops import Commit, DeadLetter
from django_hub.stores.redis import RedisStore
from tests.live.servers import Broker
from tests.stores.contract import join, post

NASTY = "ann\x1b[31m\u202e"
pytestmark = pytest.mark.broker


@pytest.fixture
def broker(server: Broker, settings: Any) -> Broker:
    host = {"address": server.url, "socket_timeout": 15}
    backend = "channels_redis.core.RedisChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [host]}}}
    asyncio.run(prepared(server))
    return server


async def prepared(server: Broker) -> None:
    """A hub with two members, one of an evil name, and a dead letter."""
    redis = connect({"address": server.url, "socket_timeout": 15})
    await redis.flushall()
    store = RedisStore(redis, "asgi:hub")
    await store.apply([join(client=NASTY), join(client="bob"), post(number=1)])
    (claim,) = await store.claim(["lobby"], "w")
    last = claim.batch[-1]
    dead = DeadLetter(hub="lobby", position=last.position, body=last.body, error="E: no\x1b", at=1e9)
    await store.commit([Commit("lobby", claim.token, last.position, (dead,))])
    await store.close()


def said(*words: str) -> str:
    out = io.StringIO()
    call_command("hubs", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_hubs_and_members_are_told(broker: Broker) -> None:
    assert "lobby: 2 members, 0 events wait, 1 dead letters" in said("list")
    assert said("list", "--begins", "x") == ""
    assert json.loads(said("list", "--json"))["members"] == 2
    told = said("members", "lobby")
    assert "\x1b" not in told
    assert "\\x1b[31m\\u202e" in told
    assert [json.loads(line)["client"] for line in said("members", "lobby", "--json").splitlines()] == [
        NASTY,
        "bob",
    ]


def test_dead_letters_are_told_retried_and_dropped(broker: Broker) -> None:
    assert "\\x1b" in said("dead-letters", "lobby")
    assert "1 put back" in said("dead-letters", "lobby", "--retry")
    assert "1 events wait" in said("list")
    with pytest.raises(CommandError, match="No such dead letters"):
        said("dead-letters", "lobby", "--drop")


def test_one_who_is_not_there_is_not_sent_to(broker: Broker) -> None:
    with pytest.raises(CommandError, match=r"manage\.py hubs members"):
        said("send", "lobby", "zoe", "hi")
    with pytest.raises(CommandError, match=r"manage\.py hubs members"):
        said("kick", "lobby", "zoe")
    with pytest.raises(CommandError, match=r"manage\.py hubs list"):
        said("broadcast", "nowhere", "hi")
    with pytest.raises(CommandError, match="no JSON"):
        said("broadcast", "lobby", "{", "--as-json")


def test_what_is_done_is_said(broker: Broker) -> None:
    assert said("send", "lobby", "bob", "hi") == "Sent.\n"
    assert json.loads(said("send", "lobby", "bob", "[1]", "--as-json", "--json")) == {"ok": True}
    assert said("broadcast", "lobby", "hi") == "Broadcast.\n"
    assert said("kick", "lobby", "bob", "--reason", "too loud") == "Kicked.\n"


async def handled_soon(url: str) -> None:
    """Once somebody looks, events are kept: handle what waits, again and again."""
    store = RedisStore(connect({"address": url, "socket_timeout": 15}), "asgi:hub")
    try:
        for number in range(2, 1000):
            await store.apply([post(number=number, client=NASTY)])
            (claim,) = await store.claim(["lobby"], "w")
            if claim.batch:
                await store.commit([Commit("lobby", claim.token, claim.batch[-1].position)])
            await asyncio.sleep(0.05)
    finally:
        await store.close()


def test_events_are_followed(broker: Broker) -> None:
    async def both() -> str:
        handling = asyncio.create_task(handled_soon(broker.url))
        try:
            return await asyncio.to_thread(said, "tail", "lobby", "--most", "2", "--json")
        finally:
            handling.cancel()
            await asyncio.wait([handling])

    first, second = (json.loads(line) for line in asyncio.run(both()).splitlines())
    assert (first["kind"], first["client"], first["failed"]) == ("message", NASTY, False)
    assert int(first["position"]) < int(second["position"])


def test_in_one_process_it_says_why_it_sees_nothing(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with pytest.raises(CommandError, match="another one, as this, can't see"):
        said("list")
