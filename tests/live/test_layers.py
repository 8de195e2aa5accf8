"""What a channel layer does behind our back: it is full, it forgets groups, it lets the idle time out."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio

from tests.live.chat import ChatClient
from tests.live.servers import MS, Broker, daphne, uvicorn
from tests.live.site import PATIENCE, UNIT, Site, Start, assert_in_order, said, talk

pytestmark = pytest.mark.timeout(120)


@pytest.mark.heavy
@pytest.mark.parametrize("layer", ["core", "pubsub"])
async def test_a_layer_with_room_for_five_messages_costs_none(start: Start, layer: str) -> None:
    # The pub/sub layer has no bound, and takes the setting without a word.
    site = await start(layer=layer, config={"capacity": 5})
    rooms = {f"r{number}": await people_of(site, f"r{number}") for number in range(10)}
    clients = [client for people in rooms.values() for client in people]
    each = 25
    hearing = [asyncio.create_task(said(client, each * 4)) for client in clients]
    await asyncio.gather(*(talk(client, each) for client in clients))
    async with asyncio.timeout(PATIENCE):
        heard = await asyncio.gather(*hearing)
    for number, people in enumerate(rooms.values()):
        mine = heard[number * 4 : number * 4 + 4]
        assert all(one == mine[0] for one in mine), "two members heard different orders"
        assert_in_order(mine[0], [client.name or "" for client in people], each)
    for client in clients:
        await client.send({"type": "who"})
        assert (await client.next())["type"] == "members", "more was said than was sent"
    assert site.remarks("dropped") == []
    assert site.complaints() == []


async def people_of(site: Site, room: str) -> list[ChatClient]:
    """Two clients of each server."""
    people = [await site.enter(site.servers[number % 2], room, f"{room}-{number}") for number in range(4)]
    for client in people:
        await client.here()
    return people


@pytest.mark.heavy
@pytest.mark.parametrize("layer", ["core", "pubsub"])
async def test_a_socket_older_than_the_layers_memory_of_groups_still_hears(
    start: Start, layer: str
) -> None:
    # The beat is the usual one, and far too slow for it.
    slow = {"BEAT": 10.0, "PROCESS_LEASE": 30.0}
    site = await start(workers=1, layer=layer, config={"group_expiry": 2}, **slow)
    ann = await site.enter(site.servers[0], "room", "ann")
    bob = await site.enter(site.servers[1], "room", "bob")
    await ann.until(type="joined", client="bob")
    # More than twice what the layer remembers: there is no condition to wait for, that is the point.
    await asyncio.sleep(5 * UNIT)
    await ann.say("still there?")
    assert (await bob.until(type="said"))["text"] == "still there?"
    assert (await ann.until(type="said"))["text"] == "still there?"
    await bob.say("yes")
    assert (await ann.until(type="said"))["text"] == "yes"
    assert site.complaints() == []


# The times of every day by fifty: the layer blocks for 5 seconds, the host has a time-out of 15 or more.
# And what redis-py 8 does where nothing is set: both are 5 seconds, of which `django_hub.E001` warns.
@pytest.mark.heavy
@pytest.mark.parametrize("timeout", [500 * MS, 100 * MS], ids=["longer", "equal"])
async def test_nothing_dies_of_having_been_idle(broker: Broker, timeout: float) -> None:
    site = Site(broker, pop=100 * MS, host={"socket_timeout": timeout, "health_check_interval": 0.6 * UNIT})
    async with site.stack:
        await site.add_server(daphne, "--ping-interval", "1")
        await site.add_server(uvicorn, "--ws-ping-interval", "0.5")
        await site.add_worker()
        ann = await site.enter(site.servers[0], "room", "ann")
        bob = await site.enter(site.servers[1], "room", "bob")
        await ann.until(type="joined", client="bob")
        async with redis.asyncio.Redis.from_url(broker.url) as client:
            # Whoever asks nothing for a second is cut off; who blocks or subscribes is not idle to it.
            await client.config_set("timeout", 1)
        tired = len(site.remarks("Nothing comes"))
        await asyncio.sleep(5 * UNIT)
        timed_out = len(site.remarks("Nothing comes")) - tired
        assert timed_out > 20 if timeout == 100 * MS else timed_out == 0, f"{timed_out} times"
        await ann.say("there")
        assert (await bob.until(type="said"))["text"] == "there"
        await bob.say("and back")
        assert (await ann.until(type="said", client="bob"))["text"] == "and back"
        assert sorted(await ann.here()) == ["ann", "bob"]
        assert site.complaints() == []
