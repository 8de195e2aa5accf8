"""manage.py hubs, on a real Valkey."""

import asyncio
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_hub.management.commands import hubs
from django_hub.sights import SHOWN
from django_hub.stores.hosts import connect
from django_hub.stores.letters import write_dead_letter
from django_hub.stores.ops import Commit, DeadLetter, Join
from django_hub.stores.redis import RedisStore
from django_hub.stores.survey import Tail
from tests.live.operators import settled
from tests.live.servers import MS, ROOT, Broker, eventually
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
    told = said("dead-letters", "lobby")
    assert " joined bob: E: no\\x1b" in told
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


@pytest.mark.parametrize(
    "words",
    [("list", "--most", "-1"), ("members", "lobby", "--most", "x"), ("tail", "lobby", "--most", "-5")],
)
def test_a_number_that_is_none(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="argument --most: a number from 0 on; got"):
        said(*words)


def test_a_beginning_that_no_name_has(broker: Broker) -> None:
    with pytest.raises(CommandError, match="lone surrogate"):
        said("list", "--begins", "\udcff")


SHAPES = {
    "list": {"hub", "members", "mail", "lag", "dead_letters", "events", "error"},
    "members": {
        *("client", "user", "meta", "state", "since", "server", "hub_v1", "address", "queue", "bytes"),
        "dropped",
    },
    "tail": {"position", "at", "kind", "client", "text", "failed"},
    "dead-letters": {"position", "at", "kind", "client", "text", "error"},
}


def test_each_object_has_the_keys_that_are_documented(broker: Broker) -> None:
    async def unreadable() -> None:
        store = RedisStore(connect({"address": broker.url, "socket_timeout": 15}), "asgi:hub")
        dead = DeadLetter(hub="lobby", position=7, body="junk", error="E: no", at=1e9)
        await store._redis.rpush(store._key("lobby", "dead"), write_dead_letter(dead))
        await store.close()

    asyncio.run(unreadable())
    for words in (["list"], ["members", "lobby"], ["dead-letters", "lobby"]):
        lines = said(*words, "--json").splitlines()
        assert len(lines) == {"list": 1}.get(words[0], 2)
        for line in lines:
            assert json.loads(line).keys() == SHAPES[words[0]]
    page = (ROOT / "docs/howto/operate.md").read_text()
    for command, keys in SHAPES.items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{command}`")]
        assert set(re.findall(r"`(\w+)`", row.partition("` | ")[2])) == keys


# As a process


@contextmanager
def process(url: str, *words: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "manage.py", "hubs", *words]
    env = settled({"REDIS_URL": url})
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        # As from a terminal: what a shell runs in the background ignores it, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def interrupt(running: subprocess.Popen[str]) -> None:
    """While it waits: what comes while it sends, redis-py on Python 3.11 may swallow."""

    def it_waits() -> bool:
        return Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    asyncio.run(eventually(it_waits))
    running.send_signal(signal.SIGINT)


def test_a_reader_who_has_enough(broker: Broker) -> None:
    """`| head` may be gone before anything is written."""
    reading, writing = os.pipe()
    os.close(reading)
    with process(broker.url, "list", stdout=writing) as running:
        os.close(writing)
        _, error = running.communicate(timeout=30_000 * MS)
    assert (running.returncode, error) == (0, "")


def test_ctrl_c_ends_a_tail(broker: Broker) -> None:
    async def somebody_looks() -> None:
        redis = connect({"address": broker.url, "socket_timeout": 15})

        async def looks() -> bool:
            return bool([key async for key in redis.scan_iter("*:tail")])

        await eventually(looks, 30_000 * MS)
        await redis.aclose(close_connection_pool=True)

    with process(broker.url, "tail", "lobby") as running:
        asyncio.run(somebody_looks())
        interrupt(running)
        out, error = running.communicate(timeout=30_000 * MS)
    assert (running.returncode, out, error) == (0, "", "")


def test_ctrl_c_of_anything_else_is_no_success() -> None:
    """It waits for a broker that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30_000 * MS)
        with process(f"redis://127.0.0.1:{silent.getsockname()[1]}", "broadcast", "lobby", "hi") as running:
            connection, _ = silent.accept()
            with connection:
                connection.settimeout(30_000 * MS)
                assert connection.recv(1)
                interrupt(running)
                out, error = running.communicate(timeout=30_000 * MS)
    assert (running.returncode, out, error) == (130, "", "CommandError: Interrupted.\n")
