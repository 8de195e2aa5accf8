"""The blocking functions: from threads, and never on a running loop."""

import asyncio
import inspect
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation

from django_hub import additions, api, bans, sync
from django_hub.exceptions import InvalidMessage, InvalidName
from django_hub.filters import Where
from django_hub.hubs import Hub
from tests.apps import EVENTS, World
from tests.apps import world as world
from tests.live.servers import ROOT

ORIGINALS = {
    name: value
    for module in (additions, api, bans)
    for name, value in vars(module).items()
    if name.startswith(("hub_", "current_")) and value.__module__ == module.__name__
}
NAMES = list(ORIGINALS)
# It neither waits nor asks anybody: the same function in both.
PLAIN = {"hub_ticket"}


async def in_thread(call: Any) -> Any:
    return await asyncio.to_thread(call)


def test_the_names_are_those_of_the_asynchronous_ones() -> None:
    assert {name for name in vars(sync) if name.startswith(("hub_", "current_"))} == PLAIN | set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_they_keep_their_documentation(name: str) -> None:
    assert getattr(sync, name).__doc__ == ORIGINALS[name].__doc__
    assert getattr(sync, name).__name__ == name


@pytest.mark.parametrize("name", NAMES)
async def test_on_a_running_loop_they_refuse_and_say_what_to_write(name: str) -> None:
    is_iterator = inspect.isasyncgenfunction(ORIGINALS[name])
    instead = f"{'async for ... in' if is_iterator else 'await'} django_hub.{name}(...)"
    with pytest.raises(SynchronousOnlyOperation, match=re.escape(f"Write '{instead}'")):
        getattr(sync, name)("lobby")


async def test_hubs(world: World) -> None:
    def work() -> list[Any]:
        return [
            sync.hub_create("lobby", events=EVENTS),
            sync.current_hub("lobby"),
            sync.current_hubs(),
            sync.hub_destroy("lobby"),
            sync.current_hub("lobby"),
        ]

    hub = Hub("lobby", EVENTS)
    assert await in_thread(work) == [hub, hub, [hub], True, None]


async def test_members_and_messages(world: World) -> None:
    ann = await world.join("ann", meta={"team": "red"})

    def work() -> list[Any]:
        sync.hub_broadcast("lobby", "to all")
        sync.hub_broadcast("lobby", "to some", lambda member: True)
        sync.hub_broadcast("lobby", "to others", Where(team="red"), only=["ann"])
        return [
            sync.hub_send("ann", {"to": "one"}),
            sync.hub_send("nobody", "x"),
            sync.hub_member("lobby", "ann").client_id,
            [member.client_id for member in sync.hub_members("lobby")],
            [member.client_id for member in sync.hub_members()],
        ]

    assert await in_thread(work) == [True, False, "ann", ["ann"], ["ann"]]
    assert await ann.receive_all(4) == ["to all", "to some", "to others", '{"to":"one"}']


async def test_in_the_threads_of_django_views(world: World) -> None:
    ann = await world.join("ann")
    await sync_to_async(sync.hub_broadcast)("lobby", "from a view")
    assert await ann.receive() == "from a view"


async def test_errors_reach_the_caller(world: World) -> None:
    with pytest.raises(InvalidName):
        await in_thread(lambda: sync.hub_create(""))
    with pytest.raises(InvalidMessage):
        await in_thread(lambda: sync.hub_broadcast("lobby", {1: "int key"}))
    with pytest.raises(InvalidName):
        await in_thread(lambda: sync.hub_members(""))


async def test_one_threads_calls_arrive_in_order(world: World) -> None:
    ann = await world.join("ann")

    def work() -> None:
        for number in range(150):
            if number % 3:
                sync.hub_broadcast("lobby", str(number))
            else:
                sync.hub_send("ann", str(number))

    await in_thread(work)
    assert await ann.receive_all(150) == [str(number) for number in range(150)]


async def test_many_threads_at_once(world: World) -> None:
    clients = [await world.join(name) for name in ("ann", "bob")]
    loop = asyncio.get_running_loop()

    def work(thread: int) -> None:
        for number in range(30):
            sync.hub_broadcast("lobby", f"{thread} {number}")

    with ThreadPoolExecutor(8) as pool:
        await asyncio.gather(*(loop.run_in_executor(pool, work, thread) for thread in range(8)))
    heard = [await client.receive_all(240) for client in clients]
    assert heard[0] == heard[1]
    for thread in range(8):
        mine = [text for text in heard[0] if str(text).startswith(f"{thread} ")]
        assert mine == [f"{thread} {number}" for number in range(30)]


async def test_they_share_one_thread(world: World) -> None:
    await in_thread(sync.current_hubs)
    before = threading.active_count()
    for _ in range(20):
        await in_thread(sync.current_hubs)
    assert [thread.name for thread in threading.enumerate()].count("django_hub.sync") == 1
    assert threading.active_count() <= before + 20


async def test_what_belongs_to_a_socket_refuses_what_is_none(world: World) -> None:
    with pytest.raises(TypeError, match="Expected a Channels websocket consumer"):
        await in_thread(lambda: sync.hub_add("lobby", object()))


FORKED = """
import os, sys, django
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()
from django_hub import sync
sync.hub_create("before")
child = os.fork()
if child == 0:
    os._exit(0 if [hub.name for hub in sync.current_hubs()] == ["before"] else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="no fork here")
@pytest.mark.may_skip
def test_a_forked_process_gets_a_loop_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],
        timeout=30,
        capture_output=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr.decode()
