"""Several servers and workers on one broker: what is promised in peace, and what a crash leaves of it.

All of it is the demo's chat, whose handler answers every message with one broadcast: what each client
heard, in which order and how often, tells what was handled.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter

import pytest

from tests.live.chat import ChatClient, RoomClient
from tests.live.servers import Broker, Worker, eventually, worker
from tests.live.site import PATIENCE, UNIT, Site, Start, assert_in_order, said, talk

pytestmark = pytest.mark.timeout(120)


STOCK_WORKER = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "demo_project.settings"
django.setup()
from channels.management.commands.runworker import Command
print("Running worker", flush=True)
Command().handle(channels=["chat-events"])
"""


@pytest.mark.parametrize(
    ("layer", "messages"),
    [
        ("core", 400),
        pytest.param("core", 10_000, marks=pytest.mark.heavy),
        pytest.param("pubsub", 2_000, marks=pytest.mark.heavy),
    ],
)
async def test_every_message_is_handled_once_and_heard_once_in_one_order(
    start: Start, layer: str, messages: int
) -> None:
    site = await start(layer=layer)
    rooms: dict[str, list[ChatClient]] = {"r0": [], "r1": [], "r2": []}
    for number in range(40):
        room = f"r{number % 3}"
        rooms[room].append(await site.enter(site.servers[number % 2], room, f"c{number}"))
    each = messages // 40
    clients = [client for people in rooms.values() for client in people]
    hearing = {
        client: asyncio.create_task(said(client, each * len(people)))
        for people in rooms.values()
        for client in people
    }
    await asyncio.gather(*(talk(client, each) for client in clients))
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*hearing.values())
    for people in rooms.values():
        heard = [hearing[client].result() for client in people]
        assert all(one == heard[0] for one in heard), "two members heard different orders"
        assert_in_order(heard[0], [client.name or "" for client in people], each)
    for client in clients:
        await client.socket.close()

    await eventually(site.nothing_left, timeout=PATIENCE)
    assert site.complaints() == []


async def test_a_server_killed_under_load_loses_its_clients_once_and_nothing_it_accepted(
    start: Start,
) -> None:
    site = await start()
    killed, other = site.servers
    watcher = await site.enter(other, "room", "watcher")
    theirs = [await site.enter(killed, "room", f"k{number}") for number in range(10)]
    ours = [await site.enter(other, "room", f"o{number}") for number in range(5)]
    for client in theirs:
        await talk(client, 20)
    # All that the watcher has heard was accepted; some more may have been.
    first = await said(watcher, 50)
    killed.kill9()
    talking = asyncio.gather(*(talk(client, 20) for client in ours))
    left: Counter[tuple[str, str]] = Counter()
    heard = first
    async with asyncio.timeout(PATIENCE):
        while len(left) < 10 or len(heard) < 10 * 5 + 20 * 5:
            message = await watcher.next()
            if message["type"] == "left":
                left[message["client"], message["reason"]] += 1
            elif message["type"] == "said":
                heard.append(message["text"])
    await talking
    assert left == Counter({(client.name, "lost"): 1 for client in theirs})
    assert_in_order(heard, [client.name or "" for client in ours], 20)
    for client in theirs:
        own = [text for text in heard if text.startswith(f"{client.name} ")]
        assert own == [f"{client.name} {number}" for number in range(len(own))], "a gap"
    assert await watcher.here() == sorted(["watcher", *(client.name or "" for client in ours)])


@pytest.mark.heavy
async def test_a_worker_killed_in_the_middle_has_its_events_handled_by_the_other(start: Start) -> None:
    site = await start()
    people = [await site.enter(site.servers[number % 2], "room", f"c{number}") for number in range(5)]
    hearing = asyncio.create_task(said(people[0], 200))
    talking = asyncio.gather(*(talk(client, 1_000) for client in people))
    heard = await hearing
    # Only one of the two has this hub; killing both would be another test.
    site.workers[0].kill9()
    async with asyncio.timeout(PATIENCE):
        while len(set(heard)) < 5_000:
            heard += await said(people[0], 1)
    await talking
    repeats = len(heard) - len(set(heard))
    assert repeats <= 100, "more than one batch was handled twice"
    once = list(dict.fromkeys(heard))
    assert_in_order(once, [client.name or "" for client in people], 1_000)


@pytest.mark.heavy
async def test_an_event_that_kills_each_worker_is_given_up_and_the_hub_goes_on(start: Start) -> None:
    site = await start()
    ann = await site.enter(site.servers[0], "room", "ann", RoomClient)
    await ann.send({"type": "die", "text": ""})
    await talk(ann, 3)
    for _ in range(3):
        dead = await eventually(
            lambda: [each for each in site.workers if each.returncode is not None], PATIENCE
        )
        for each in dead:
            each.kill9()  # it is expected to be dead
            site.workers.remove(each)
        await site.add_worker()
    async with asyncio.timeout(PATIENCE):
        assert await said(ann, 3) == ["ann 0", "ann 1", "ann 2"]
    assert len(site.workers) == 2
    assert all(worker.returncode is None for worker in site.workers)


@pytest.mark.heavy
async def test_stopping_servers_and_workers_in_order_loses_nothing(start: Start) -> None:
    site = await start()
    stopped, other = site.servers
    watcher = await site.enter(other, "room", "watcher")
    theirs = [await site.enter(stopped, "room", f"s{number}") for number in range(10)]
    for client in theirs:
        await talk(client, 20)
    heard = await said(watcher, 200)
    site.workers[0].signal(signal.SIGTERM)
    stopped.signal(signal.SIGTERM)
    left: Counter[tuple[str, str]] = Counter()
    async with asyncio.timeout(PATIENCE):
        while sum(left.values()) < 10:
            gone = await watcher.until(type="left")
            left[gone["client"], gone["reason"]] += 1
    assert left == Counter({(client.name, "shutdown"): 1 for client in theirs})
    assert await site.workers[0].wait() == 0
    await stopped.wait()
    assert_in_order(heard, [client.name or "" for client in theirs], 20)
    await watcher.say("still served")
    assert (await watcher.until(type="said"))["text"] == "still served"
    assert site.complaints() == []


@pytest.mark.parametrize("layer", ["core", pytest.param("pubsub", marks=pytest.mark.heavy)])
async def test_a_broker_that_is_restarted_costs_no_socket(start: Start, broker: Broker, layer: str) -> None:
    site = await start(layer=layer)
    ann = await site.enter(site.servers[0], "room", "ann")
    bob = await site.enter(site.servers[1], "room", "bob")
    await ann.say("before")
    await bob.until(type="said", text="before")

    async def both_here() -> bool:
        return await ann.here() == ["ann", "bob"] and await bob.here() == ["ann", "bob"]

    for keep_data in (True, False):
        await broker.restart(keep_data=keep_data)
        async with asyncio.timeout(PATIENCE):
            while True:
                # Not every word gets through at first; the sockets do, and then the words.
                await ann.say(f"after, {keep_data}")
                try:
                    async with asyncio.timeout(0.5 * UNIT):
                        await bob.until(type="said", text=f"after, {keep_data}")
                        break
                except TimeoutError:
                    continue
        await eventually(both_here, timeout=PATIENCE)


@pytest.mark.heavy
async def test_a_server_that_was_stopped_for_long_and_goes_on_has_its_members_back(start: Start) -> None:
    site = await start()
    paused, other = site.servers
    watcher = await site.enter(other, "room", "watcher")
    ann = await site.enter(paused, "room", "ann")
    await watcher.until(type="joined", client="ann")
    paused.signal(signal.SIGSTOP)
    assert await watcher.until(type="left") == {"type": "left", "client": "ann", "reason": "lost"}
    paused.signal(signal.SIGCONT)
    await watcher.until(type="joined", client="ann")
    assert await watcher.here() == ["ann", "watcher"]
    await ann.say("I never noticed")
    assert (await watcher.until(type="said"))["text"] == "I never noticed"


@pytest.mark.heavy
async def test_channels_own_worker_serves_too(start: Start, broker: Broker) -> None:
    site = await start(workers=0)
    stock = Worker(["chat-events"], site.env, ready="Running worker")
    stock.command = lambda: [sys.executable, "-c", STOCK_WORKER]  # type: ignore[method-assign]
    await site.stack.enter_async_context(stock)
    ann = await site.enter(site.servers[0], "room", "ann")
    await ann.say("hello")
    assert (await ann.until(type="said"))["text"] == "hello"


async def test_a_worker_without_a_broker_says_what_to_do() -> None:
    process = worker(env={"REDIS_URL": ""})
    with pytest.raises(AssertionError, match="in-memory channel layer reaches its own process only"):
        await process.start()


@pytest.mark.heavy
async def test_a_broker_that_is_not_there_is_named_and_waited_for(broker: Broker) -> None:
    site = Site(broker)
    await broker.stop()
    try:
        await site.start(workers=1)
        client = await site.stack.enter_async_context(ChatClient(site.servers[0], "room", "ann"))
        await eventually(lambda: "is it running, and is the address right?" in site.servers[0].log())
        await broker.start()
        await client.until(type="joined", client="ann")
    finally:
        await site.stack.aclose()
