"""What operators do by the admin page's posts, who may, and that it is in the admin's log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.operators import APP, NASTY, HallClient, Operator, dismiss, log_of, manage, prepared
from tests.live.servers import WebServer, daphne


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    """One for all: each test has hubs of its own."""
    server = daphne(APP, prepared(tmp_path_factory.mktemp("acts")))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


def log(server: WebServer, hub: str) -> list[tuple[str, str]]:
    return [(who, what) for who, on, _, what in log_of(server.environment) if on == hub]


async def dead(operator: Operator, hub: str, count: int) -> list[dict[str, Any]]:
    picture = await operator.sees(hub, lambda picture: len(picture["dead"]) == count)
    found: list[dict[str, Any]] = picture["dead"]
    return found


async def test_dead_letters_are_dropped_and_retried(server: WebServer) -> None:
    root = await Operator.come(server, "root")
    async with HallClient(server, "letters", "ann") as ann:
        for text in ("bad 1", "bad 2", "bad 3"):
            await ann.say(text)
        newest, middle, oldest = await dead(root, "letters", 3)
        assert (newest["text"], newest["error"]) == ("bad 3", "ValueError: it is bad 3")
        one = {"position": middle["position"]}
        assert await root.does("drop", "letters", **one) == "Dead letters dropped: 1."
        status, said = await root.act("drop", "letters", **one)
        assert (status, said) == (200, {"ok": False, "text": "Nothing to drop."})
        await ann.say("mend")
        await ann.hears("mend")
        one = {"position": oldest["position"]}
        assert await root.does("retry", "letters", **one) == "Dead letters put back into the mailbox: 1."
        await ann.hears("bad 1")
        assert await root.does("retry", "letters") == "Dead letters put back into the mailbox: 1."
        await ann.hears("bad 3")
        assert await dead(root, "letters", 0) == []
        status, said = await root.act("retry", "letters")
        assert (status, said["ok"]) == (200, False)
        assert "its hub is" in said["text"]
    assert log(server, "letters") == [
        ("root", "Dead letters dropped: 1."),
        ("root", "Dead letters put back into the mailbox: 1."),
        ("root", "Dead letters put back into the mailbox: 1."),
    ]


@pytest.mark.parametrize("action", ["drop", "retry"])
async def test_what_came_since_the_picture_stays(server: WebServer, action: str) -> None:
    root = await Operator.come(server, "root")
    async with HallClient(server, f"{action} all", "ann") as ann:
        for text in ("bad 1", "bad 2", "bad 3"):
            await ann.say(text)
        _, shown, _ = await dead(root, f"{action} all", 3)
        await ann.say("mend")
        await ann.hears("mend")
        await root.does(action, f"{action} all", until=shown["position"])
        (left,) = await dead(root, f"{action} all", 1)
    assert left["text"] == "bad 3"


async def test_kick_send_and_broadcast(server: WebServer) -> None:
    root = await Operator.come(server, "root")
    async with HallClient(server, "acts", "ann") as ann, HallClient(server, "acts", "bob") as bob:
        await root.sees("acts", lambda picture: len(picture["members"]) == 2)
        await root.does("broadcast", "acts", text="to all")
        await ann.hears("to all")
        await bob.hears("to all")
        await root.does("broadcast", "acts", text='{"a":  1}', **{"as": "json"})
        assert await ann.next() == {"a": 1}
        await root.does("send", "acts", client="bob", text="to you")
        assert await bob.next() == {"a": 1}
        await bob.hears("to you")
        await root.does("send", "acts", client="bob", text="[2]", **{"as": "json"})
        assert await bob.next() == [2]
        await root.does("kick", "acts", client="bob", reason="x" * 200)
        assert await bob.closed() == 4403
        assert bob.socket.close_reason.startswith("xxx")
        await root.does("kick", "acts", client="ann")
        assert await ann.closed() == 4403
    assert [what for _, what in log(server, "acts")] == [
        "Broadcast: to all",
        'Broadcast: {"a":  1}',
        "Sent to 'bob': to you",
        "Sent to 'bob': [2]",
        "Kicked 'bob'.",
        "Kicked 'ann'.",
    ]


@pytest.mark.parametrize(
    ("action", "fields", "status", "text"),
    [
        ("kick", {"client": "zoe"}, 200, "'zoe' is no longer here."),
        ("send", {"client": "zoe", "text": "x"}, 200, "'zoe' is no longer here."),
        ("broadcast", {"text": "x"}, 200, "There is no such hub any more."),
        ("retry", {}, 200, "Nothing to retry"),
        ("drop", {}, 200, "Nothing to drop"),
        ("kick", {"client": ""}, 400, "client id"),
        ("send", {"client": "zoe", "text": "{", "as": "json"}, 400, "It is no JSON"),
        ("drop", {"position": "x"}, 400, "It can't be read"),
        ("kick", {"hub": ""}, 400, "hub name"),
        ("explode", {}, 400, "no such action"),
        ("", {}, 400, "no such action"),
    ],
)
async def test_what_was_not_done_is_said_and_not_logged(
    server: WebServer, action: str, fields: dict[str, str], status: int, text: str
) -> None:
    root = await Operator.come(server, "root")
    code, said = await root.act(action, **{"hub": "nowhere", **fields})
    assert (code, said["ok"]) == (status, False)
    assert text in said["text"]
    assert log(server, "nowhere") == []


@pytest.mark.parametrize(
    ("name", "page", "post", "socket"),
    [
        ("clerk", 403, 403, 4403),
        # Who may act must also be let see: Django's rule, that who may change may see, is not ours.
        ("changer", 403, 403, 4403),
        ("viewer", 200, 403, None),
        # Not of the staff: the admin asks for another login.
        ("outsider", 302, 302, 4403),
    ],
)
async def test_who_lacks_the_permission(
    server: WebServer, name: str, page: int, post: int, socket: int | None
) -> None:
    async with HallClient(server, f"of {name}", "ann") as ann:
        operator = await Operator.come(server, name)
        if name == "outsider":
            dismiss(server.environment, name)
        status, text = await operator.get()
        assert status == page
        assert "data-may-change" not in text
        for action in ("kick", "send", "broadcast", "retry", "drop"):
            fields = {"client": "ann", "text": "x"}
            assert (await operator.act(action, f"of {name}", **fields))[0] == post
        if socket is None:
            picture = await operator.sees(f"of {name}", lambda picture: picture["members"])
            assert picture["members"][0]["client"] == "ann"
        else:
            assert await operator.refused() == socket
        await ann.say("I am still here, and nobody said anything")
        assert await ann.socket.recv() == "I am still here, and nobody said anything"
    assert log(server, f"of {name}") == []


async def test_a_stranger_and_a_forged_post(server: WebServer) -> None:
    stranger = Operator(server)
    assert (await stranger.get())[0] == 302
    assert await stranger.refused() == 4403
    root = await Operator.come(server, "root")
    fields = {"action": "broadcast", "hub": "forged", "text": "x"}
    assert (await root.post("django_hub/hubs/act/", token="", **fields))[0] == 403
    assert (await root.get("django_hub/hubs/act/"))[0] == 405
    assert (await root.get("django_hub/hubs/add/"))[0] == 403
    assert log(server, "forged") == []


LOSES_THE_BROKER = """
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import RequestFactory
from django_hub import operations
from django_hub.admin import HubsAdmin
from django_hub.exceptions import Unavailable
from django_hub.models import Hubs

async def kick(*args):
    print(*args)
    raise Unavailable("no broker")

operations.kick = kick
request = RequestFactory().post("/", {"action": "kick", "hub": "lost", "client": "ann", "reason": "loud"})
request.user = User.objects.get(username="root")
answer = HubsAdmin(Hubs, admin.site).act(request)
print(answer.status_code, answer.content.decode())
"""


async def test_what_may_have_been_done_is_logged(server: WebServer) -> None:
    """The broker went away behind the action, before it could say so."""
    said = await asyncio.to_thread(manage, server.environment, "shell", "-c", LOSES_THE_BROKER)
    assert "lost ann loud\n503 " in said
    assert "It is not known whether it was done: no broker" in said
    told = "It is not known whether this was done: kick {'client': 'ann', 'reason': 'loud'}"
    assert log(server, "lost") == [("root", told)]


async def test_an_admin_site_of_ones_own(server: WebServer) -> None:
    root = await Operator.come(server, "root", "/ops/")
    async with HallClient(server, "own", "ann") as ann:
        status, page = await root.get(hub="own")
        assert status == 200
        assert 'data-act="/ops/django_hub/hubs/act/"' in page
        assert 'data-socket="/ws/django_hub/admin/"' in page
        assert "/admin/django_hub/" not in page.replace("/ws/django_hub/admin/", "").replace(
            "/static/django_hub/admin/", ""
        )
        await root.does("broadcast", "own", text="hi")
        await ann.hears("hi")
    status, history = await root.get("django_hub/hubs/own/history/")
    assert status == 200
    assert "Broadcast: hi" in history


async def test_the_log_leads_to_the_hub(server: WebServer) -> None:
    """Its links are to a page of that name, and ours is one for all."""
    root = await Operator.come(server, "root")
    async with HallClient(server, "../é/_2F", "ann"):
        await root.does("broadcast", "../é/_2F", text="hi")
    _, index = await root.get("")
    link = index.split('<ul class="actionlist">')[1].split('href="/admin/')[1].split('"')[0]
    status, _ = await root.get(link)
    assert status == 302
    _, page = await root.get(hub="../é/_2F")
    link = page.split('class="object-tools"><li><a href="/admin/')[1].split('"')[0]
    status, history = await root.get(link)
    assert status == 200
    assert "Broadcast: hi" in history


async def test_hostile_names_are_escaped(server: WebServer) -> None:
    root = await Operator.come(server, "root")
    async with HallClient(server, NASTY, NASTY) as ann:
        status, page = await root.get(hub=NASTY)
        assert status == 200
        await root.does("broadcast", NASTY, text=NASTY)
        await ann.hears(NASTY)
        await ann.say(f"bad {NASTY}")
        await dead(root, NASTY, 1)
        await root.does("kick", NASTY, client=NASTY)
        assert await ann.closed() == 4403
    _, history = await root.get("")
    for text in (page, history, server.log()):
        assert not set("\x1b\u202e\r") & set(text)
    assert "<img src=x" not in page + history
    rows = [row for row in log_of(server.environment) if row[1] == NASTY]
    assert len(rows) == 2
    assert not [shown for row in rows for shown in row[2:] if not shown.isprintable()]


async def test_it_stops_in_order_beside_a_connection_that_asks_nothing(server: WebServer) -> None:
    """As browsers open some ahead. Daphne then cancels no application: Python crashed at its end."""
    async with daphne(APP, server.environment) as other:
        root = await Operator.come(other, "root")
        async with await root.open() as socket:
            await socket.send('{"hub": "", "search": "", "after": "", "by_name": false}')
            await socket.recv()
            _, writer = await asyncio.open_connection(other.host, other.port)
            await root.get()  # by then that one is known to the server, too
            assert await other.stop() == 0
            writer.close()
    assert "Killed" not in other.log()


async def test_without_an_asgi_application_the_page_can_but_try(server: WebServer) -> None:
    """As on a site that is WSGI alone, or has its sockets at another server."""
    async with daphne(APP, server.environment | {"ASGI": "nowhere"}) as other:
        root = await Operator.come(other, "root")
        status, page = await root.get()
    assert status == 200
    assert 'data-socket="/ws/django_hub/admin/" data-unseen' in page
    assert "no route to it was seen" in page
