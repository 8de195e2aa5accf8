"""The examples of docs/reference/protocol.md, executed."""

import json
import re
from pathlib import Path

import pytest

import django_hub
from django_hub import closes
from django_hub.client_items import Received, Resync
from django_hub.client_session import Reply, Session
from tests import pages

PAGE = "docs/reference/protocol.md"
FROM_CLIENT = {"connect", "message", "request", "ping"}
NONCE = {"nonce": "8f14e45fceea167a5a36dedd4bea2543"}
FROM_SERVER = {"hello", "message", "reply", "ack", "presence", "resync", "refused", "closing", "pong"}


def blocks(marker):
    return pages.blocks(PAGE, marker)


def frames(side):
    return [line for block in blocks(f"json {side}") for line in block.splitlines()]


def test_each_frame_has_an_example():
    assert {json.loads(frame)["type"] for frame in frames("client")} == FROM_CLIENT
    assert {json.loads(frame).get("type", "message") for frame in frames("server")} == FROM_SERVER


@pytest.mark.parametrize("frame", [*frames("server"), *(b.encode() for b in blocks("binary server"))])
def test_what_a_server_may_say_is_understood(frame):
    session = Session()
    heard = session.read(frame)
    kind = json.loads(frame if isinstance(frame, str) else frame.split(b"\n")[0]).get("type")
    assert len(heard) == (kind not in ("closing", "pong"))


def test_what_a_client_says_is_what_the_page_says():
    session = Session()
    session._known = dict(NONCE)
    new, returns, message, request, ping = frames("client")
    assert session.connect() == new
    session._known = {name: value for name, value in json.loads(returns).items() if name != "type"}
    assert session.connect() == returns
    (bytes_message,) = blocks("binary client")
    for kind, data in (
        ("message", json.loads(message)["data"]),
        ("request", json.loads(request)["data"]),
        ("message", bytes_message.partition("\n")[2].encode()),
    ):
        session.submit(kind, data)
    written = [session.next_frame() for _ in range(3)]
    assert written == [message, request, bytes_message.encode()]
    assert ping == '{"type":"ping"}'


def test_the_walk_through_recovery():
    session, heard, steps = Session(), [], "\n".join(blocks("exchange")).splitlines()
    session._known = dict(NONCE)
    for step in steps:
        who, _, frame = step.partition(" ")
        if who == "break":
            assert session.ended(1006, "")[1]
        elif who == "server":
            heard += session.read(frame)
        elif json.loads(frame)["type"] == "connect":
            assert session.connect() == frame
        else:
            said = json.loads(frame)
            if said["id"] > session._last:
                session.submit(said["type"], said["data"])
            assert session.next_frame() == frame
    assert [told for told in heard if isinstance(told, Received | Reply | Resync)] == [
        Received(data="one", seq=42),
        Received(data="two", seq=44),
        Received(data="three", seq=45),
        Received(data="for Ann", direct=1),
        Reply(number=2, data="answered"),
        Resync(reason="what was missed is no longer kept"),
        Received(data="four", seq=8),
    ]


def test_the_table_of_close_codes_is_what_clients_do():
    rows = re.findall(r"^\| ([\d, ]+) \|.*\| (yes|no)\b[^|]*\|$", pages.text(PAGE), re.MULTILINE)
    returns = {int(code) for codes, back in rows if back == "yes" for code in codes.split(", ")}
    assert returns == closes.RETURNING
    hub_js = (Path(django_hub.__file__).parent / "static/django_hub/hub.js").read_text()
    codes = re.search(r"RETURNS = new Set\(\[(.*)\]\)", hub_js)[1]
    codes = codes.replace("BAD_TOKEN", "4401").replace("SILENT", "4408")
    assert {int(code) for code in codes.split(", ")} == returns
