"""The harness itself, on an application without Django: failures here are not django_hub's."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import redis.asyncio
from websockets.asyncio.client import connect

from tests.live import servers
from tests.live.servers import MS, ROOT, ProcessError, daphne, eventually, uvicorn, valkey, worker


async def echo(scope, receive, send):
    """An ASGI application: its process id over HTTP, an echo over a websocket."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
    elif scope["type"] == "websocket":
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event["text"]})


async def broken(scope, receive, send):
    """An ASGI application that does not get through uvicorn's lifespan start."""
    raise RuntimeError("this application never starts")


ECHO = "tests.live.test_servers:echo"

WEB_SERVERS = {
    "daphne": lambda: daphne(ECHO),
    "uvicorn-asyncio-sansio": lambda: uvicorn(ECHO),
    "uvicorn-uvloop-sansio": lambda: uvicorn(ECHO, loop="uvloop"),
    "uvicorn-asyncio-websockets": lambda: uvicorn(ECHO, ws="websockets"),
    "uvicorn-asyncio-wsproto": lambda: uvicorn(ECHO, ws="wsproto"),
}


async def process_id_over_http(server: servers.WebServer) -> int:
    def get() -> bytes:
        with urllib.request.urlopen(server.http_url()) as answer:
            return answer.read()

    return int(await asyncio.to_thread(get))


@pytest.mark.parametrize("kind", WEB_SERVERS)
async def test_a_web_server_answers_and_stops(kind):
    async with WEB_SERVERS[kind]() as server:
        assert await process_id_over_http(server) == server.pid
        async with connect(server.ws_url("/anything/")) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
            await server.stop()
            await asyncio.wait_for(client.wait_closed(), 5_000 * MS)
    assert not server.running
    assert server.complaints() == []


async def test_a_killed_server_starts_again_at_its_address():
    async with uvicorn(ECHO) as server:
        port, pid = server.port, server.pid
        server.kill9()
        assert await server.wait() == -signal.SIGKILL
        await server.start()
        assert server.port == port
        assert server.pid != pid
        assert await process_id_over_http(server) == server.pid


async def test_a_stopped_server_can_be_ended():
    async with uvicorn(ECHO) as server:
        server.signal(signal.SIGSTOP)
    assert not server.running


async def test_a_server_that_cannot_start_says_why():
    with pytest.raises(ProcessError, match=r"No module named 'tests\.nowhere'"):
        await daphne("tests.nowhere:application").start()
    with pytest.raises(ProcessError, match="this application never starts"):
        await uvicorn("tests.live.test_servers:broken", None, "--lifespan", "on").start()


async def test_a_server_that_dies_by_itself_is_noticed():
    server = await uvicorn(ECHO).start()
    os.kill(server.pid, signal.SIGKILL)
    await server.wait()
    with pytest.raises(ProcessError, match="died by itself"):
        await server.stop()


@pytest.mark.parametrize("kind", ["daphne", "uvicorn", "valkey"])
async def test_a_port_that_was_taken_meanwhile_is_left_to_its_owner(kind):
    server = {"daphne": daphne, "uvicorn": uvicorn}[kind](ECHO) if kind != "valkey" else valkey()
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", server.port))  # bound and not listening: nobody answers there
        taken = server.port
        async with server:
            assert server.port != taken


async def test_valkey_restarts_with_and_without_its_data(broker):
    async def value() -> bytes | None:
        async with redis.asyncio.from_url(broker.url) as client:
            return await client.get("key")

    async with redis.asyncio.from_url(broker.url) as client:
        await client.set("key", "value")
    await broker.restart()
    assert await value() == b"value"
    broker.kill9()
    await broker.wait()
    await broker.start()
    assert await value() == b"value"
    await broker.restart(keep_data=False)
    assert await value() is None


async def test_valkey_takes_options():
    async with valkey(requirepass="secret", maxmemory="10mb") as broker:
        assert broker.env == {"REDIS_URL": f"redis://:secret@127.0.0.1:{broker.port}/0"}
        async with redis.asyncio.from_url(broker.url) as client:
            assert (await client.config_get("maxmemory"))["maxmemory"] == "10485760"
        async with redis.asyncio.from_url(broker.url.replace("secret", "wrong")) as client:
            with pytest.raises(redis.exceptions.AuthenticationError):
                await client.ping()


async def test_a_server_binary_that_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="/nowhere/redis-server"):
        valkey("/nowhere/redis-server")


async def test_a_worker_starts_and_stops(broker):
    async with worker("chat-events", env=broker.env) as process:
        assert process.running
    assert not process.running


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's help is Linux' own")
@pytest.mark.may_skip
async def test_nothing_outlives_a_killed_test_run(tmp_path):
    """Not even when pytest itself is killed and can clean up nothing."""
    script = """
import asyncio
from tests.live.servers import valkey

async def main():
    broker = await valkey().start()
    print(broker.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # what it can't remove is pytest's to remove
        stdout=subprocess.PIPE,
    )
    pid = int(await parent.stdout.readline())
    os.kill(pid, 0)
    parent.kill()
    await parent.wait()

    def gone() -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # Whoever took it over may not have waited for it yet.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    await eventually(gone)


async def test_eventually_polls_plain_and_async_conditions():
    counted = iter(range(3))

    async def third() -> bool:
        return next(counted) == 2

    assert await eventually(third) is True
    values = iter([0, "", 7])
    assert await eventually(lambda: next(values)) == 7


async def test_eventually_takes_an_assertion_for_not_yet_and_carries_it_at_the_end():
    def never() -> bool:
        raise AssertionError("because")

    with pytest.raises(AssertionError, match=r"never: still None after 0\.0") as caught:
        await eventually(never, timeout=20 * MS)
    assert str(caught.value.__cause__) == "because"
