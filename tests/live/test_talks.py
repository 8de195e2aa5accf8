"""Clients of ``hub.v1`` on real servers: what they get after drops, kills and stops; what they may not."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from django_hub.client import HubRefused, hub_connect
from tests.live.servers import Broker, eventually
from tests.live.site import PATIENCE, Site
from tests.live.talker import Talker

pytestmark = [pytest.mark.live, pytest.mark.broker]

APP = "tests.live.talks:application"


@pytest.fixture(scope="module")
def site(server: Broker) -> Iterator[Site]:
    """One for all: each test has a hub of its own."""
    site = Site(server, app=APP)
    asyncio.run(site.start(workers=1))
    yield site
    asyncio.run(site.stack.aclose())


class Garden:
    """A hub of the site, and its clients."""

    _numbers = itertools.count(1)

    def __init__(self, site: Site) -> None:
        self.site = site
        self.hub = f"garden-{next(self._numbers)}"
        self.servers = site.servers
        self._talkers: list[Talker] = []

    def talker(self, name: str = "") -> Talker:
        self._talkers.append(Talker(name, self.hub))
        return self._talkers[-1]

    def handled(self, *words: str) -> list[str]:
        """What its events were, of those that begin so."""
        said = f"{self.hub} handled "
        lines = [line.partition(said)[2] for line in self.site.remarks(said)]
        return [line for line in lines if line.startswith(words)]

    async def close(self) -> None:
        for talker in self._talkers:
            await talker.drop()


@pytest.fixture
async def garden(site: Site) -> AsyncIterator[Garden]:
    garden = Garden(site)
    yield garden
    await garden.close()
    for server in site.servers:
        if not server.running:
            await server.start()


def numbered(word: str, count: int, start: int = 0) -> list[str]:
    return [f"{word} {number}" for number in range(start, start + count)]


async def test_what_is_larger_than_the_hub_takes_is_refused_and_its_client_stays(garden: Garden) -> None:
    around = len('{"type":"message","id":1,"data":{"say":"","times":1}}')
    async with hub_connect(garden.servers[0].ws_url(f"/ws/{garden.hub}/?name=dora")) as dora:
        with pytest.raises(HubRefused, match=r"65536 bytes.*this one has 65537"):
            await dora.send({"say": "x" * (65_537 - around), "times": 1})
        # The server counts as the client does: one byte less is taken.
        await dora.send({"say": "x" * (65_536 - around), "times": 1})


async def test_a_client_that_drops_gets_all_it_missed_on_another_server(garden: Garden) -> None:
    here, there = garden.servers
    anna, berta = await garden.talker("anna").come(here), await garden.talker("berta").come(there)
    await anna.say({"say": "early", "times": 3})
    assert [m["said"] for m in await berta.said(3)] == numbered("early", 3)
    await berta.drop()
    await anna.say({"say": "missed", "times": 50})
    await anna.say({"tell": "berta", "text": "for you", "times": 2})
    assert [m["said"] for m in await anna.said(53)][3:] == numbered("missed", 50)
    await berta.come(here)
    assert (berta.hello["recovered"], berta.hello["resumed"]) == ("yes", True)
    heard = await berta.said(52)
    assert [m["said"] for m in heard if isinstance(m, dict)] == numbered("missed", 50)
    assert [m for m in heard if isinstance(m, str)] == numbered("for you", 2)
    await anna.say({"say": "late"})
    assert await berta.said(1) == [{"said": "late 0"}]
    await eventually(lambda: garden.handled("Resumed berta"), PATIENCE, "berta is back")
    assert len(garden.handled("Lost berta")) == 1
    assert not garden.handled("Left berta")
    assert len(garden.handled("Joined berta")) == 1


async def test_two_drops_in_a_row_and_one_before_anything_was_heard(garden: Garden) -> None:
    here, there = garden.servers
    anna, berta = await garden.talker("anna").come(here), await garden.talker("berta").come(there)
    await berta.drop()
    await berta.come(here)
    await berta.drop()
    await anna.say({"say": "missed", "times": 5})
    await anna.said(5)
    await berta.come(there)
    assert (berta.hello["recovered"], berta.hello["resumed"]) == ("yes", True)
    assert [m["said"] for m in await berta.said(5)] == numbered("missed", 5)


async def test_more_than_history_has_is_told(garden: Garden) -> None:
    here, there = garden.servers
    anna, berta = await garden.talker("anna").come(here), await garden.talker("berta").come(there)
    await berta.drop()
    await anna.say({"say": "missed", "times": 500})
    await anna.said(500)
    await berta.come(here)
    assert (berta.hello["recovered"], berta.hello["resumed"]) == ("no", True)
    await anna.say({"say": "late"})
    assert await berta.said(1) == [{"said": "late 0"}]


async def test_a_server_that_is_killed_is_a_drop(garden: Garden) -> None:
    here, there = garden.servers
    anna, berta = await garden.talker("anna").come(here), await garden.talker("berta").come(there)
    there.kill9()
    await berta.closed()
    await anna.say({"say": "missed", "times": 20})
    await anna.say({"tell": "berta", "text": "for you"})
    await anna.said(20)
    await berta.come(here)
    assert (berta.hello["recovered"], berta.hello["resumed"]) == ("yes", True)
    assert len(await berta.said(21)) == 21
    assert not garden.handled("Left berta")


async def test_a_server_that_stops_lets_its_clients_go_on_elsewhere(garden: Garden) -> None:
    here, there = garden.servers
    anna, berta = await garden.talker("anna").come(here), await garden.talker("berta").come(there)
    await there.stop()
    await berta.closed()
    await anna.say({"say": "missed", "times": 20})
    await anna.said(20)
    await berta.come(here)
    assert (berta.hello["recovered"], berta.hello["resumed"]) == ("yes", True)
    assert [m["said"] for m in await berta.said(20)] == numbered("missed", 20)
    assert not garden.handled("Left berta")


@pytest.mark.heavy
async def test_who_does_not_come_back_leaves_once(garden: Garden) -> None:
    here, there = garden.servers
    await garden.talker("anna").come(here)
    berta = await garden.talker("berta").come(there)
    await berta.drop()
    await eventually(lambda: garden.handled("Left berta"), PATIENCE, "berta is gone")
    assert len(garden.handled("Left berta")) == len(garden.handled("Lost berta")) == 1
    await berta.come(here)
    assert (berta.hello["recovered"], berta.hello["resumed"]) == ("yes", False)
    await berta.leave()
    await eventually(lambda: len(garden.handled("Left berta")) == 2, PATIENCE, "berta has left")
    assert len(garden.handled("Lost berta")) == 1


async def test_a_message_sent_again_is_in_the_mailbox_once(garden: Garden) -> None:
    here, there = garden.servers
    anna = await garden.talker("anna").come(here)
    for server in (there, here):
        await anna.say({"say": "once"})
        await anna.drop()
        await anna.come(server)
        anna.number -= 1
        await anna.say({"say": "once"})
    await eventually(lambda: len(garden.handled("Message anna")) >= 2, PATIENCE, "two are handled")
    await anna.say({"say": "last"})
    await eventually(
        lambda: any("last" in line for line in garden.handled("Message anna")), PATIENCE, "the last"
    )
    assert len(garden.handled("Message anna")) == 3


async def test_a_request_gets_its_reply_also_after_a_drop(garden: Garden) -> None:
    here, there = garden.servers
    anna = await garden.talker("anna").come(here)
    number = await anna.say({"ask": 1}, "request")
    reply = await anna.until(lambda frame: frame["type"] == "reply")
    assert (reply["id"], reply["data"]) == (number, {"heard": {"ask": 1}})
    await anna.send({"type": "request", "id": number + 1, "data": {"ask": 2}})
    await eventually(
        lambda: any('"ask":2' in line for line in garden.handled("Message anna")), PATIENCE, "asked"
    )
    await anna.drop()
    await anna.come(there)
    reply = await anna.until(lambda frame: frame["type"] == "reply")
    assert (reply["id"], reply["data"]) == (number + 1, {"heard": {"ask": 2}})


async def test_binary_and_droppable_messages(garden: Garden) -> None:
    here, there = garden.servers
    anna, berta = await garden.talker("anna").come(here), await garden.talker("berta").come(there)
    await anna.socket.send(b'{"type":"message","id":1}\n\x00\xff')
    message = await berta.until(lambda frame: frame["type"] == "message")
    assert message["data"] == b"\x00\xff"
    assert message["seq"] == berta.seq
    anna.number = 1
    await anna.say({"say": "typing", "droppable": True})
    message = await berta.until(lambda frame: frame["type"] == "message")
    assert message == {"type": "message", "data": {"said": "typing 0"}}


async def test_presence_is_a_list_and_then_changes(garden: Garden) -> None:
    here, there = garden.servers
    anna = await garden.talker("anna").come(here)
    await anna.until(lambda frame: frame["type"] == "presence" and frame["member"]["client"] == "anna")
    berta = await garden.talker("berta").come(there)
    assert {(m["client"], m["state"]) for m in berta.hello["presence"]} == {
        ("anna", "online"),
        ("berta", "online"),
    }
    await berta.drop()
    await berta.come(here)
    await berta.leave()
    events = [await anna.until(lambda frame: frame["type"] == "presence") for _ in range(4)]
    assert [(e["event"], e["member"]["client"], e["member"]["state"]) for e in events] == [
        ("joined", "berta", "online"),
        ("lost", "berta", "lost"),
        ("resumed", "berta", "online"),
        ("left", "berta", "gone"),
    ]
    assert [e["seq"] for e in events] == sorted(e["seq"] for e in events)


async def test_a_new_meta_is_shown_and_is_what_conditions_ask(garden: Garden) -> None:
    here, there = garden.servers
    anna, berta = await garden.talker("anna").come(here), await garden.talker("berta").come(there)
    await berta.say({"be": "glad"})
    change = await anna.until(lambda f: f["type"] == "presence" and f["event"] == "updated")
    assert change["member"] == {
        "client": "berta",
        "user": None,
        "meta": {"mood": "glad"},
        "state": "online",
    }
    await anna.say({"to": "glad", "said": "to the glad"})
    assert await berta.said(1) == [{"said": "to the glad"}]
    await anna.say({"say": "to all"})
    assert await anna.said(1) == [{"said": "to all 0"}]


async def test_a_raw_client_beside_them_sees_only_messages(garden: Garden) -> None:
    here, there = garden.servers
    async with connect(here.ws_url(f"/ws/{garden.hub}/?name=raw")) as raw:
        anna = await garden.talker("anna").come(there)
        await anna.say({"say": "to all"})
        assert json.loads(await raw.recv()) == {"said": "to all 0"}


@pytest.mark.heavy
async def test_a_silent_client_is_lost(garden: Garden) -> None:
    anna = await garden.talker("anna").come(garden.servers[0])
    assert await anna.closed() == 4408
    await eventually(lambda: garden.handled("Lost anna"), PATIENCE, "anna is lost")


BAD = [
    ("no JSON", 4400),
    ("[]", 4400),
    ('{"type":"nonsense"}', 4400),
    ('{"type":"message","id":1}', 4400),
    ('{"type":"message","id":0,"data":1}', 4400),
    ('{"type":"message","id":99999999999999999999,"data":1}', 4400),
    ('{"type":"message","id":true,"data":1}', 4400),
    ('{"type":"connect"}', 4400),
    ("x" * 70_000, 1009),
]


@pytest.mark.parametrize("number", range(2))
async def test_what_is_no_hub_v1_is_refused_and_nobody_else_notices(garden: Garden, number: int) -> None:
    server = garden.servers[number]
    berta = await garden.talker("berta").come(server)
    for frame, code in BAD:
        anna = await garden.talker().come(server)
        await anna.socket.send(frame)
        assert await anna.closed() == code, frame[:80]
    await berta.say({"say": "still here"})
    assert await berta.said(1) == [{"said": "still here 0"}]


@pytest.mark.parametrize("number", range(2))
async def test_bad_beginnings(garden: Garden, number: int) -> None:
    server = garden.servers[number]
    anna = await garden.talker("anna").come(server)
    token = anna.hello["token"]

    async def refused(at: str, first: dict[str, Any] | str, code: int) -> None:
        async with connect(server.ws_url(at), subprotocols=["hub.v1"]) as socket:
            with contextlib.suppress(ConnectionClosed):  # refused before it says a word
                await socket.send(first if isinstance(first, str) else json.dumps(first))
            async with asyncio.timeout(PATIENCE):
                await socket.wait_closed()
            assert socket.close_code == code, first

    path = f"/ws/{garden.hub}/"
    await refused(path, "nonsense", 4400)
    await refused(path, {"type": "ping"}, 4400)
    await refused(path, {"type": "connect", "token": 5}, 4400)
    await refused(path, {"type": "connect", "seq": -1}, 4400)
    await refused(path, {"type": "connect", "token": "forged"}, 4401)
    await refused(path, {"type": "connect", "token": token[:-1] + "_"}, 4401)
    await refused("/ws/another/", {"type": "connect", "token": token}, 4401)
    await refused(f"{path}?name=berta", {"type": "connect", "token": token}, 4401)
    await refused(f"{path}?stranger=1", {"type": "connect"}, 4403)
    await anna.say({"say": "still here"})


async def test_an_unknown_subprotocol_is_refused(garden: Garden) -> None:
    for server in garden.servers:
        socket = await connect(server.ws_url(f"/ws/{garden.hub}/"), subprotocols=["graphql-ws"])
        await socket.wait_closed()
        assert socket.close_code == 4406


async def test_numbers_that_cannot_be_are_no_recovery(garden: Garden) -> None:
    server = garden.servers[0]
    anna = await garden.talker("anna").come(server)
    await anna.say({"say": "something"})
    await anna.said(1)
    for wrong in ({"seq": anna.seq + 1000}, {"epoch": "another"}, {"direct": 7}):
        await anna.drop()
        await anna.come(server, **wrong)
        assert (anna.hello["recovered"], anna.hello["resumed"]) == ("no", True), wrong
