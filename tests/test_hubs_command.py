"""manage.py hubs, on a real Valkey."""

import asyncio
import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_hub.management.commands import hubs
from django_hub.sights import SHOWN
from django_hub.stores.hosts import connect
from django_hub.stores.ops import Commit, DeadLetter, Join
from django_hub.stores.redis import RedisStore
from django_hub.stores.survey import Tail
from tests.live.servers import Broker
from tests.stores.contract import join, post

NASTY = "ann\x1b[31m\u202e"
pytestmark = pytest.mark.broker


def layers(url: str) -> dict[str, Any]:
    host = {"address": url, "socket_timeout": 15}
    backend = "channels_redis.core.RedisChannelLayer"
    return {"default": {"BACKEND": backend, "CONFIG": {"hosts": [host]}}}


@pytest.fixture
def broker(server: Broker, settings: Any) -> Broker:
    settings.CHANNEL_LAYERS = layers(server.url)
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


def both(*words: str) -> tuple[str, str]:
    out, error = io.StringIO(), io.StringIO()
    call_command("hubs", *words, stdout=out, stderr=error)
    return out.getvalue(), error.getvalue()


def said(*words: str) -> str:
    return both(*words)[0]


async def more(url: str, *ops: Join) -> None:
    store = RedisStore(connect({"address": url, "socket_timeout": 15}), "asgi:hub")
    await store.apply(ops)
    await store.close()


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


def test_a_page_of_hubs_at_a_time(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "_PAGE", 3)
    names = [f"gar{number}" for number in range(7)]
    asyncio.run(more(broker.url, *(join(name) for name in ["gar", *names, "gas"])))

    def listed(*words: str) -> list[str]:
        return [json.loads(line)["hub"] for line in said("list", "--json", *words).splitlines()]

    assert listed("--most", "0") == ["gar", *names, "gas", "lobby"]
    assert listed("--begins", "gar") == ["gar", *names]
    assert listed("--begins", "gar", "--most", "4") == ["gar", *names[:3]]
    assert listed("--begins", "gar6") == ["gar6"]
    out, error = both("list", "--most", "4")
    assert len(out.splitlines()) == 4
    assert error == "There may be more than 4: see --most.\n"
    assert both("list", "--most", "4", "--json")[1] == ""


def test_a_page_of_members_at_a_time(broker: Broker) -> None:
    names = [f"c{number:03}" for number in range(SHOWN + 5)]
    asyncio.run(more(broker.url, *(join("large", name) for name in names)))

    def listed(*words: str) -> list[str]:
        lines = said("members", "large", "--json", *words).splitlines()
        return [json.loads(line)["client"] for line in lines]

    assert listed() == names
    assert listed("--most", str(SHOWN + 2)) == names[: SHOWN + 2]
    assert both("members", "nowhere") == ("", "Nobody is there.\n")
    assert both("members", "nowhere", "--json") == ("", "")


def test_a_dead_letter_by_its_position(broker: Broker) -> None:
    (letter,) = [json.loads(line) for line in said("dead-letters", "lobby", "--json").splitlines()]
    position = ("--position", letter["position"])
    assert said("dead-letters", "lobby", "--position", "1") == ""
    assert letter["position"] in said("dead-letters", "lobby", *position)
    with pytest.raises(CommandError, match="No such dead letters"):
        said("dead-letters", "lobby", "--drop", "--position", "1")
    assert said("dead-letters", "lobby", "--drop", *position) == "1 dropped.\n"
    assert said("dead-letters", "lobby") == ""


def test_a_tail_that_was_left_behind(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """And Ctrl-C, which is how it ends."""
    tails = [Tail(1), Tail(9, missed=True)]

    async def tail(*_: object) -> Tail:
        if not tails:
            raise KeyboardInterrupt
        return tails.pop(0)

    monkeypatch.setattr(RedisStore, "tail", tail)
    monkeypatch.setattr(hubs, "_EVERY", 0.01)
    assert both("tail", "lobby") == ("", "(more happened than can be shown)\n")


def test_a_hub_that_is_damaged(broker: Broker) -> None:
    async def spoil() -> None:
        redis = connect({"address": broker.url, "socket_timeout": 15})
        store = RedisStore(redis, "asgi:hub")
        await store.apply([join("cellar")])
        await redis.set(store._key("lobby", "dead"), "junk")
        await store.close()

    asyncio.run(spoil())
    cellar, lobby = said("list").splitlines()
    assert cellar.startswith("cellar: 1 members")
    assert lobby.startswith("lobby: Redis: what is under a key of ours is not ours.")
    assert "not ours" in json.loads(said("list", "--json").splitlines()[1])["error"]
    with pytest.raises(CommandError, match="not ours"):
        said("members", "lobby")


def test_a_broker_that_is_gone(settings: Any) -> None:
    settings.CHANNEL_LAYERS = layers("redis://127.0.0.1:1")
    with pytest.raises(CommandError, match="there is no connection"):
        said("list")


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
    async def both(*words: str) -> str:
        handling = asyncio.create_task(handled_soon(broker.url))
        try:
            return await asyncio.to_thread(said, "tail", "lobby", "--most", "2", *words)
        finally:
            handling.cancel()
            await asyncio.wait([handling])

    first, second = (json.loads(line) for line in asyncio.run(both("--json")).splitlines())
    assert (first["kind"], first["client"], first["failed"]) == ("message", NASTY, False)
    assert int(first["position"]) < int(second["position"])
    # A tail for people; what a terminal would obey is escaped.
    asyncio.run(prepared(broker))
    for line in asyncio.run(both()).splitlines():
        assert " message ann\\x1b[31m\\u202e " in line


def test_in_one_process_it_says_why_it_sees_nothing(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    with pytest.raises(CommandError, match="another one, as this, can't see"):
        said("list")
