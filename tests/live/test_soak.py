"""Ten thousand come, talk and go, in waves: then the server holds what it held at the start."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import sys
from typing import Any

import pytest

from tests.live.crowd import PATIENCE, Person, allow_many_files
from tests.live.peer import Desk, Peer
from tests.live.servers import WebServer, daphne, eventually, uvicorn

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.heavy,
    pytest.mark.skipif(sys.platform != "linux", reason="memory and files are asked of Linux' /proc"),
    pytest.mark.may_skip,
]

APP = "tests.live.weighed:application"
# The peers answer pings only while they are read from.
SERVERS = {
    "daphne": lambda: daphne(APP, None, "--verbosity", "0", "--ping-timeout", "600"),
    "uvicorn": lambda: uvicorn(
        APP, None, "--ws-ping-timeout", "600", "--log-level", "warning", loop="uvloop"
    ),
}
WAVES = 10
WAVE = 1_000
ROOM = 20
STALLED = 3


@pytest.mark.parametrize("kind", SERVERS)
async def test_ten_thousand_leave_nothing_behind(kind: str) -> None:
    allow_many_files(4 * WAVE)
    # One stays, and with it the relay, whose beats tidy up.
    async with SERVERS[kind]() as server, Desk(server) as desk, Peer(server, "hub/home/guard/"):
        await eventually(lambda: desk("here() == 1"))
        # The first ones fill what is kept for good: caches, pools, the allocator's own.
        for number in range(4):
            await wave(server, desk, f"first{number}")
        await eventually(lambda: desk("held()['relay.outbox.accepted._counts'] == 0"))
        # A log outlives its hub, for as long as a lease here. That of the notices stays with the relay.
        await eventually(lambda: desk("held()['relay.store._logs._logs'] == 1"), timeout=PATIENCE)
        before, kilobytes = await desk("held()"), [await desk("forget()")]
        for number in range(WAVES):
            await wave(server, desk, f"w{number}")
            kilobytes.append(await desk("forget()"))
        after: dict[str, int] = {}

        async def as_before() -> bool:
            nonlocal after
            after = await desk("held()")
            assert after.items() == before.items(), after.items() ^ before.items()
            return True

        await eventually(as_before, timeout=PATIENCE)
        # What is lost grows with every wave; the allocator, now and then and then by megabytes.
        grown = sorted(after - before for before, after in itertools.pairwise(kilobytes))[:-2]
        assert sum(grown) / len(grown) * WAVES < 4 * 1024, kilobytes
        assert server.complaints() == []


async def wave(server: WebServer, desk: Desk, name: str) -> None:
    free = asyncio.Semaphore(100)
    loop = asyncio.get_running_loop()

    async def enter(number: int) -> Person:
        async with free:
            path = f"/hub/{name}-{number // ROOM}/{name}-{number}/"
            person = Person(str(number), path, f"{server.host}:{server.port}")
            await loop.create_connection(lambda: person, server.host, server.port)
            await person.opened()
            person.say({"type": "said", "by": number})
            await person.hear("said")
            return person

    crowd = await asyncio.gather(*(enter(number) for number in range(WAVE)))
    for number in range(STALLED):
        slow = f"{name}-slow{number}"
        async with Peer(server, f"hub/stalled/{slow}/"):
            await eventually(
                lambda slow=slow: desk(f"any(c.client_id == '{slow}' for c in get_relay().fanout)")
            )
            assert await desk(f"broadcast_until_left('stalled', '{slow}', 50_000)") > 20
    for person in crowd:
        person.say({"type": "last", "by": person.name})
    await asyncio.gather(*(person.hear("last", ROOM) for person in crowd))
    for number, person in enumerate(crowd):
        go(number % 4, person)
    await eventually(lambda: all(person.closed for person in crowd), timeout=PATIENCE)
    await eventually(lambda: desk("here() == Room.sockets == 1"), timeout=PATIENCE)


def go(how: int, person: Any) -> None:
    """With a close, by a reset, or, of the rest, without a word."""
    transport = person._transport
    if how < 2:
        person.leave()
    elif how == 2:
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        transport.abort()
    else:
        transport.close()
