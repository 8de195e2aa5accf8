"""The Python client, against a server whose every step a test says by itself."""

import asyncio
import contextlib
import json
import math
import os
import re
import sys
from collections.abc import Sized
from http import HTTPStatus

import pytest
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State

from django_hub import client_connections, client_socket
from django_hub.client import (
    HubClosed,
    HubQueueFull,
    HubRefused,
    HubTimeout,
    PresenceChange,
    Present,
    Received,
    Resync,
    hub_connect,
)
from django_hub.client_session import Session
from django_hub.exceptions import InvalidBound
from tests.live.servers import MS, eventually

HELLO = {
    "type": "hello",
    "client": "c1",
    "hub": "room",
    "epoch": "e1",
    "seq": 0,
    "direct": 0,
    "recovered": "new",
    "resumed": False,
    "heartbeat": 25,
    "grace": 15,
    "token": "t1",
}


class Peer:
    """The server's end of one connection."""

    def __init__(self, socket):
        self.socket = socket

    async def next(self):
        frame = await self.socket.recv()
        return frame if isinstance(frame, bytes) else json.loads(frame)

    async def say(self, frame):
        await self.socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def greet(self, **hello):
        said = await self.next()
        await self.say(HELLO | hello)
        return said

    async def end(self, code):
        await self.socket.close(code, "why")

    def drop(self):
        self.socket.transport.abort()


class Site:
    def __init__(self):
        self.peers = asyncio.Queue()
        self.url = ""
        self.headers = []
        self.origin = ""

    async def next(self):
        return await self.peers.get()

    def connect(self, **options):
        return hub_connect(self.url, **({"first": 0.01, "most": 0.05} | options))


@pytest.fixture
async def site():
    site = Site()

    async def meet(socket):
        site.headers.append(socket.request.headers)
        site.peers.put_nowait(Peer(socket))
        await socket.wait_closed()

    async with serve(meet, "127.0.0.1", 0, subprotocols=["hub.v1"]) as server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        site.url, site.origin = f"ws://{host}/", f"http://{host}"
        yield site


def without_nonce(connect):
    assert re.fullmatch("[0-9a-f]{32}", connect.pop("nonce"))
    return connect


async def test_until_it_has_a_token_its_nonce_stays(site):
    async def nonces():
        for _ in range(2):
            peer = await site.next()
            yield (await peer.next())["nonce"]
            await peer.end(1012)
        peer = await site.next()
        yield (await peer.greet())["nonce"]
        await peer.end(4401)
        yield (await (await site.next()).greet())["nonce"]

    async def play():
        return [nonce async for nonce in nonces()]

    playing = asyncio.create_task(play())
    async with site.connect():
        one, two, three, other = await playing
    assert one == two == three != other


@contextlib.asynccontextmanager
async def online(site, *, hello=(), **options):
    """A client that is online, and the server's end of its connection."""

    async def greet():
        peer = await site.next()
        assert without_nonce(await peer.greet(**dict(hello))) == {"type": "connect"}
        return peer

    greeting = asyncio.create_task(greet())
    async with site.connect(**options) as hub:
        yield hub, await greeting


async def test_items_come_with_their_numbers_and_each_once(site):
    async with online(site, hello={"seq": 4}, headers={"X-Who": "me"}) as (hub, peer):
        assert site.headers[0]["X-Who"] == "me"
        assert hub.client == "c1"
        for frame in (
            {"seq": 5, "data": [1]},
            {"type": "message", "seq": 5, "data": "again"},
            {"direct": 1, "data": "for you"},
            b'{"seq":9}\n\x00\n\x01',
            {"type": "news of a later version"},
            {"type": "pong"},
            {"type": "message", "data": None},
        ):
            await peer.say(frame)
        assert [await anext(hub) for _ in range(4)] == [
            Received(data=[1], seq=5),
            Received(data="for you", direct=1),
            Received(data=b"\x00\n\x01", seq=9),
            Received(data=None),
        ]


async def test_on_return_it_says_what_it_had_and_takes_what_it_missed(site):
    async with online(site, hello={"seq": 7}) as (hub, peer):
        await peer.say({"type": "message", "seq": 9, "data": 1})
        await peer.say({"type": "message", "direct": 2, "data": 2})
        assert [(await anext(hub)).data for _ in range(2)] == [1, 2]
        peer.drop()
        peer = await site.next()
        said = await peer.greet(recovered="yes", resumed=True, seq=12, direct=3, token="t2")
        assert said == {"type": "connect", "token": "t1", "epoch": "e1", "seq": 9, "direct": 2}
        # It drops before what it missed has come: it still lacks all of it.
        await peer.say({"type": "message", "seq": 10, "data": 3})
        assert (await anext(hub)).seq == 10
        peer.drop()
        peer = await site.next()
        said = await peer.greet(recovered="yes", resumed=True, seq=12, direct=3)
        assert said == {"type": "connect", "token": "t2", "epoch": "e1", "seq": 10, "direct": 2}
        await peer.say({"type": "message", "seq": 12, "data": 4})
        assert await anext(hub) == Received(data=4, seq=12)


async def test_two_drops_in_a_row_lose_no_message(site):
    async with online(site) as (hub, peer):
        sent = [asyncio.create_task(doing) for doing in (hub.send("a"), hub.request("b"), hub.send(b"c\n"))]
        assert await peer.next() == {"type": "message", "id": 1, "data": "a"}
        peer.drop()
        peer = await site.next()
        await peer.next()
        peer.drop()
        peer = await site.next()
        await peer.greet(recovered="yes", resumed=True)
        assert [await peer.next() for _ in range(3)] == [
            {"type": "message", "id": 1, "data": "a"},
            {"type": "request", "id": 2, "data": "b"},
            b'{"type":"message","id":3}\nc\n',
        ]
        await peer.say({"type": "reply", "id": 2, "direct": 1, "data": "B"})
        await peer.say({"type": "ack", "id": 3})
        assert await asyncio.gather(*sent) == [None, "B", None]


async def test_what_cannot_be_had_any_more_is_an_item(site):
    async with online(site, hello={"seq": 3}) as (hub, peer):
        peer.drop()
        peer = await site.next()
        await peer.greet(recovered="no", epoch="e2", seq=1)
        assert await anext(hub) == Resync(reason="what was missed is no longer kept")
        await peer.say({"type": "resync", "epoch": "e3", "seq": 0, "reason": "too slow"})
        await peer.say({"type": "message", "seq": 1, "data": "first"})
        assert [await anext(hub), await anext(hub)] == [
            Resync(reason="too slow"),
            Received(data="first", seq=1),
        ]


async def test_a_program_that_does_not_read_is_told_what_it_lost(site):
    async with online(site, max_items=2) as (hub, peer):
        for seq in range(1, 5):
            await peer.say({"type": "message", "seq": seq, "data": seq})
        await peer.say({"type": "ack", "id": 1})
        await hub_has(hub, 4)
        assert isinstance(await anext(hub), Resync)
        assert (await anext(hub)).seq == 4


async def hub_has(hub, seq):
    await eventually(lambda: hub._session._known["seq"] >= seq)


async def test_what_the_server_does_not_take_is_refused_and_it_stays(site):
    async with online(site) as (hub, peer):
        sending = [asyncio.create_task(hub.send(1)), asyncio.create_task(hub.request(2))]
        for number in (1, 2):
            assert (await peer.next())["id"] == number
            await peer.say({"type": "refused", "id": number, "code": 4403, "reason": "may not send"})
        for task in sending:
            with pytest.raises(HubRefused, match="with 4403: may not send"):
                await task
        # It is not sent again.
        peer.drop()
        again = await site.next()
        await again.greet()
        third = asyncio.create_task(hub.send(3))
        assert (await again.next())["id"] == 3
        await again.say({"type": "ack", "id": 3})
        await third


async def test_a_request_whose_handler_failed_is_refused_after_its_acknowledgement(site):
    async with online(site) as (hub, peer):
        asking = asyncio.create_task(hub.request("x"))
        assert (await peer.next())["id"] == 1
        await peer.say({"type": "ack", "id": 1})
        failed = {"type": "refused", "id": 1, "direct": 3, "code": 1011, "reason": "the handler failed"}
        await peer.say(failed)
        with pytest.raises(HubRefused, match="with 1011: the handler failed"):
            await asking
        # It stands in the client's log, and is not asked for again.
        peer.drop()
        assert (await (await site.next()).next())["direct"] == 3


async def test_what_is_larger_than_the_server_takes_is_refused_whenever_it_comes_and_it_stays(site):
    async with online(site) as (hub, peer):
        peer.drop()
        sending = [asyncio.create_task(hub.send("x" * 80)), asyncio.create_task(hub.request("y" * 80))]
        sent = asyncio.create_task(hub.send(3))
        again = await site.next()
        await again.greet(max_bytes=100)
        for task in sending:
            with pytest.raises(HubRefused, match="with 1009: a message may have 100 bytes") as refused:
                await task
            assert refused.value.code == 1009
        assert (await again.next())["id"] == 3
        largest = asyncio.create_task(hub.send("x" * (100 - len('{"type":"message","id":4,"data":""}'))))
        assert (await again.next())["id"] == 4
        await again.say({"type": "ack", "id": 4})
        await asyncio.gather(sent, largest)
        for data in ("x" * 66, bytes(80)):
            with pytest.raises(HubRefused, match="this one has 1"):
                await hub.send(data)


async def test_the_queue_is_bounded_and_what_is_no_json_refused(site):
    async with online(site, max_queue=1, max_queue_bytes=100) as (hub, peer):
        with pytest.raises(HubQueueFull, match="max_queue_bytes 100"):
            await hub.send("x" * 100)
        with pytest.raises(TypeError):
            await hub.send(object())
        sent = asyncio.create_task(hub.send(1))
        assert (await peer.next())["id"] == 1
        with pytest.raises(HubQueueFull, match="1 messages"):
            await hub.send(2)
        await peer.say({"type": "ack", "id": 1})
        await sent


@pytest.mark.parametrize("data", [math.nan, {"x": [-math.inf]}, "half of it: \ud83d"], ids=repr)
async def test_what_the_server_could_not_read_is_refused_here_and_it_stays(site, data):
    async with online(site) as (hub, peer):
        for doing in (hub.send, hub.request):
            with pytest.raises(ValueError, match=r"JSON|surrogates"):
                await doing(data)
        sent = asyncio.create_task(hub.send("next"))
        assert await peer.next() == {"type": "message", "id": 1, "data": "next"}
        await peer.say({"type": "ack", "id": 1})
        await sent


def test_while_it_is_away_requests_that_are_over_leave_nothing_behind():
    session = Session()
    for _ in range(100):
        session.forget(session.submit("request", "x"))
    assert [name for name, held in vars(session).items() if isinstance(held, Sized) and len(held) > 1] == []


async def test_a_request_without_a_reply_in_time(site):
    async with online(site) as (hub, peer):
        with pytest.raises(HubTimeout, match=r"no reply within 0\.01 s"):
            await hub.request("late", timeout=0.01)
        await peer.say({"type": "reply", "id": 1, "direct": 1, "data": "nobody waits"})
        await peer.say({"type": "message", "seq": 1, "data": "on it goes"})
        assert (await anext(hub)).data == "on it goes"


async def test_presence_follows_what_is_told(site):
    ann = {"client": "a", "user": 1, "meta": {}, "state": "online"}
    bob = {"client": "b", "user": None, "meta": {}, "state": "online"}
    async with online(site, hello={"presence": [ann]}) as (hub, peer):
        assert hub.presence == {"a": Present(client="a", user=1)}
        await peer.say({"type": "presence", "seq": 1, "event": "joined", "member": bob})
        await peer.say({"type": "presence", "seq": 2, "event": "left", "member": ann | {"state": "gone"}})
        assert await anext(hub) == PresenceChange(event="joined", member=Present(client="b"))
        assert (await anext(hub)).member.state == "gone"
        assert list(hub.presence) == ["b"]


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "1",
        "{}",
        "[]",
        '{"type":null,"data":1}',
        '{"type":"reply","id":1}',
        '{"type":"ack"}',
        b"\xff\n",
        '{"type":"message","seq":"2","data":1}',
        '{"type":"message","direct":true,"data":1}',
        json.dumps(HELLO | {"presence": [None]}),
        '{"type":"presence","seq":2,"event":"joined","member":{}}',
        "[" * 10_000,
    ],
)
async def test_after_a_bad_frame_it_asks_again(site, bad):
    async with online(site) as (_, peer):
        await peer.say(bad)
        with pytest.raises(ConnectionClosed) as closed:
            await peer.next()
        assert closed.value.rcvd.code == 4408
        assert (await (await site.next()).greet())["token"] == "t1"


async def test_a_silent_connection_is_given_up(site):
    async with online(site, hello={"heartbeat": 50 * MS}) as (_, peer):
        for _ in range(2):
            assert await peer.next() == {"type": "ping"}
            await peer.say({"type": "pong"})
        await peer.socket.wait_closed()
        assert (peer.socket.close_code, peer.socket.close_reason) == (4408, "nothing heard")


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 4008, 4408, 4429])
async def test_it_returns_after(site, code):
    async with online(site) as (_, peer):
        await peer.end(code)
        assert (await (await site.next()).greet())["token"] == "t1"


@pytest.mark.parametrize("code", [1000, 4400, 4403, 4409, 4410])
async def test_it_is_closed_after(site, code):
    async with online(site) as (hub, peer):
        sent = asyncio.create_task(hub.send(1))
        await peer.next()
        await peer.end(code)
        with pytest.raises(HubClosed, match=f"closed with {code}: why"):
            await sent
        with pytest.raises(HubClosed):
            await anext(hub)
        with pytest.raises(HubClosed):
            await hub.send(2)


async def test_what_closing_says_goes_first(site):
    async with online(site) as (hub, peer):
        await peer.say({"type": "closing", "code": 4500, "reason": "later", "reconnect": True})
        await peer.end(4500)
        peer = await site.next()
        await peer.greet()
        await peer.say({"type": "closing", "code": 1012, "reason": "for good", "reconnect": False})
        await peer.end(1012)
        with pytest.raises(HubClosed, match="1012: for good"):
            await anext(hub)


async def test_with_a_token_not_valid_it_comes_as_a_new_client(site):
    async with online(site, hello={"seq": 5, "direct": 6}) as (_, peer):
        await peer.end(4401)
        said = await (await site.next()).greet()
        assert without_nonce(said) == {"type": "connect", "epoch": "e1", "seq": 5}


async def test_entering_raises_where_it_is_refused(site):
    async def refuse():
        await (await site.next()).end(4403)

    refusing = asyncio.create_task(refuse())
    with pytest.raises(HubClosed) as closed:
        async with site.connect():
            pass
    assert (closed.value.code, closed.value.reason) == (4403, "why")
    await refusing


@pytest.mark.parametrize(("status", "code"), [(HTTPStatus.FORBIDDEN, 4403), (None, 4406)])
async def test_entering_raises_where_there_is_no_hub(status, code):
    def answer(connection, _request):
        return connection.respond(status, "") if status else None

    async with serve(lambda s: s.wait_closed(), "127.0.0.1", 0, process_request=answer) as server:
        with pytest.raises(HubClosed) as closed:
            async with hub_connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"):
                pass
        assert closed.value.code == code


async def test_it_tries_until_the_server_is_there(unused_tcp_port):
    connecting = asyncio.create_task(
        hub_connect(f"ws://127.0.0.1:{unused_tcp_port}", first=0.01).__aenter__()
    )
    await asyncio.sleep(50 * MS)
    came = asyncio.Event()

    async def meet(socket):
        await Peer(socket).greet()
        came.set()
        await socket.wait_closed()

    async with serve(meet, "127.0.0.1", unused_tcp_port, subprotocols=["hub.v1"]):
        hub = await connecting
        assert came.is_set()
        await hub.close()


@pytest.mark.parametrize(
    "asks", [anext, lambda hub: hub.send(1), lambda hub: hub.request(1)], ids=["anext", "send", "request"]
)
async def test_one_that_is_not_entered_says_so(asks):
    with pytest.raises(RuntimeError, match="async with hub_connect"):
        async with asyncio.timeout(1000 * MS):
            await asks(hub_connect("ws://127.0.0.1:1"))


async def test_one_that_was_left_is_not_entered_again(site):
    async with online(site) as (hub, _):
        with pytest.raises(RuntimeError, match="entered once"):
            await hub.__aenter__()
    with pytest.raises(RuntimeError, match="entered once"):
        await hub.__aenter__()
    assert site.peers.empty()


@pytest.mark.parametrize(
    "number", ["first", "most", "patience", "max_queue", "max_queue_bytes", "max_items"]
)
def test_a_number_that_can_be_none_is_refused(number):
    for value in (0, -1, math.nan):
        with pytest.raises(InvalidBound, match=f"{number} is a number above 0; got "):
            hub_connect("ws://127.0.0.1:1", **{number: value})


async def test_a_url_that_cannot_be_one_is_told():
    with pytest.raises(HubClosed, match="InvalidURI"):
        async with hub_connect("nowhere"):
            pass


async def test_closing_ends_the_iteration_and_what_waits(site):
    async with online(site) as (hub, peer):
        sent = asyncio.create_task(hub.send(1))
        await peer.next()
        await hub.close()
        await hub.close()
        with pytest.raises(HubClosed):
            await sent
        assert [item async for item in hub] == []
        with pytest.raises(ConnectionClosed) as closed:
            await peer.next()
        assert closed.value.rcvd.code == 1000


async def test_without_websockets_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "websockets.asyncio", None)
    with pytest.raises(ImportError, match=r"pip install 'django-hub\[client\]'"):
        await hub_connect("ws://127.0.0.1:1").__aenter__()


async def test_where_there_is_no_room_it_takes_its_time(site, monkeypatch):
    slept = []

    async def sleep(seconds, real=asyncio.sleep):
        slept.append(seconds)
        await real(0)

    async with online(site) as (_, peer):
        monkeypatch.setattr("django_hub.client_connections.asyncio.sleep", sleep)
        await peer.end(4431)
        peer = await site.next()
        await peer.greet()
        monkeypatch.undo()
    assert max(slept) >= 30 / 8


@pytest.mark.parametrize(
    ("away", "most"),
    [(0.0, 0.5), (0.2, 0.5), (5.0, 5.0), (8.0, 7.0), (14.9, 0.5), (20.0, 20.0), (90.0, 30.0)],
)
async def test_it_waits_no_longer_than_it_has_been_away_nor_past_the_end_of_its_grace(site, away, most):
    async with online(site, first=0.5, most=30.0) as (hub, _):
        waits = [hub._connections._wait_of(seconds, away) for seconds in range(31) for _ in range(50)]
    assert 0.9 * most < max(waits) <= most


async def test_a_dead_line_is_noticed_also_while_it_takes_no_more(site):
    async with online(site, hello={"heartbeat": 100 * MS}, max_queue_bytes=2**26) as (hub, peer):
        peer.socket.transport.pause_reading()
        # More than the buffers between the two ends hold.
        sending = [asyncio.create_task(hub.send(os.urandom(100_000))) for _ in range(200)]
        try:
            async with asyncio.timeout(5000 * MS):
                again = await site.next()
                await again.greet()
        finally:
            peer.drop()
        again.drop()
        for task in sending:
            task.cancel()
        await asyncio.wait(sending)


async def test_who_closes_it_may_be_cancelled_meanwhile(site):
    async with online(site) as (hub, peer):
        peer.socket.transport.pause_reading()  # the farewell is not answered
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(50 * MS):
                await hub.close()
        await hub.close()
        assert hub._task.cancelled()
        peer.drop()


async def test_no_socket_is_left_where_the_program_ends_during_the_farewell(site, monkeypatch):
    opened = []

    async def open_(*args, real=client_socket.opened):
        opened.append(await real(*args))
        return opened[-1]

    monkeypatch.setattr(client_socket, "opened", open_)
    async with online(site) as (hub, peer):
        peer.socket.transport.pause_reading()
        closing = asyncio.create_task(hub.close())
        await eventually(lambda: opened[0].state is State.CLOSING)
        hub._task.cancel()  # as asyncio.run does at its end
        await closing
        assert opened[0].transport.is_closing()
        peer.drop()


async def test_each_who_asks_a_closed_one_gets_an_exception_of_its_own(site):
    async with online(site) as (hub, peer):
        await peer.end(4403)
        raised = []
        for asks in (lambda _: anext(hub), hub.send, hub.request, lambda _: anext(hub)):
            with pytest.raises(HubClosed, match="closed with 4403: why") as closed:
                await asks(1)
            raised.append(closed.value)
        assert len({id(error) for error in raised}) == len(raised)


@pytest.mark.parametrize(("headers", "origin"), [({}, None), ({"origin": "https://a.example"},) * 2])
async def test_it_comes_from_the_site_itself_where_it_says_nothing_else(site, headers, origin):
    async with online(site, headers=headers):
        assert site.headers[0].get_all("Origin") == [origin["origin"] if origin else site.origin]


async def test_each_connection_brings_a_ticket_of_its_own(site):
    made = iter(["t1", OSError("no ticket now"), "<title>Log in</title>", "", None, "t6"])

    async def ticket():
        match next(made):
            case OSError() as error:
                raise error
            case text:
                return text

    async with online(site, ticket=ticket) as (_, peer):
        peer.drop()
        await (await site.next()).greet()
        offers = [headers["Sec-WebSocket-Protocol"] for headers in site.headers]
        assert offers == ["hub.v1, hub.ticket.t1", "hub.v1, hub.ticket.t6"]


async def test_a_ticket_that_is_late_is_none(site, caplog):
    async def ticket(late=iter([True, False])):  # noqa: B008
        if next(late):
            await asyncio.Event().wait()
        return "t"

    async with online(site, ticket=ticket, patience=50 * MS):
        assert "no ticket came: TimeoutError" in caplog.text


async def test_each_try_that_fails_is_logged_and_the_first_of_a_row_is_a_warning(site, caplog):
    caplog.set_level("INFO", "django_hub.client_connections")
    site.url = f"{site.url.replace('//', '//ann:secret@')}@room/?token=secret"
    async with online(site) as (_, peer):
        await peer.end(1012)
        peer = await site.next()
        await peer.say({"type": "closing", "code": 4433, "reason": "the hub is full", "reconnect": True})
        await peer.end(4433)
        await (await site.next()).greet()
    told = [record for record in caplog.records if record.name == "django_hub.client_connections"]
    assert [(record.levelname, record.getMessage().partition(";")[0]) for record in told] == [
        ("WARNING", f"No connection to {site.origin[7:]}/@room/: 1012 why"),
        ("INFO", f"No connection to {site.origin[7:]}/@room/: 4433 the hub is full"),
    ]


def test_a_ticket_in_place_of_what_asks_for_one_is_refused():
    """It is not shown: it may still be good."""
    with pytest.raises(TypeError, match=r"an async function that asks the site for one.*got str\.$"):
        hub_connect("ws://localhost/ws/lobby/", ticket="abc")


async def test_a_try_that_took_long_to_fail_is_no_connection_that_lasted(site, caplog, monkeypatch):
    monkeypatch.setattr(client_connections, "_STEADY", 20 * MS)
    caplog.set_level("INFO", "django_hub.client_connections")

    async def play():
        for _ in range(3):  # there it says no hello, and is given up
            await site.next()
        await (await site.next()).greet()

    playing = asyncio.create_task(play())
    async with site.connect(patience=50 * MS):
        await playing
    assert [record.levelname for record in caplog.records if "tries again" in record.getMessage()] == [
        "WARNING",
        "INFO",
        "INFO",
    ]
