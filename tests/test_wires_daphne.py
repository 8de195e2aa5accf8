"""Daphne: its door without the gaps, and its end. What goes past the door is in ``live/test_wires.py``."""

from typing import Any

import pytest

from django_hub.messages import Close
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Outgoing
from django_hub.wires.choice import Wires
from django_hub.wires.daphne import open_door
from tests.sockets import until
from tests.test_wires_choice import daphne_send
from tests.test_wires_choice import of_daphne as of_daphne


class Protocol:
    """What of Daphne's protocol object the door relies on."""

    STATE_CONNECTING = 1
    STATE_CLOSING = 2
    STATE_OPEN = 3

    def __init__(self) -> None:
        self.state = self.STATE_OPEN
        self.closeHandshakeTimeout = 1
        self.replies: list[dict[str, Any]] = []
        self.past: list[tuple[Any, ...]] = []

    async def handle_reply(self, message: dict[str, Any]) -> None:
        self.replies.append(message)

    def sendCloseFrame(self, code: int, reason: bytes) -> None:  # noqa: N802
        self.past.append(("close", code, reason))

    def sendMessage(self, payload: bytes, binary: bool) -> None:  # noqa: N802
        self.past.append(("message", payload, binary))


@pytest.fixture
def protocol() -> Protocol:
    return Protocol()


@pytest.fixture
def wire(protocol: Protocol) -> AsgiWire:
    return AsgiWire(open_door(protocol, protocol.handle_reply))


def write(wire: Any, *frames: Any) -> list[bool]:
    return [wire.write(Outgoing(frame)) for frame in frames]


async def test_messages_go_through_the_door(wire: AsgiWire, protocol: Protocol) -> None:
    assert write(wire, "text", b"bytes") == [True, True]
    assert protocol.replies == [
        {"type": "websocket.send", "text": "text"},
        {"type": "websocket.send", "bytes": b"bytes"},
    ]
    assert protocol.past == []


async def test_empty_messages_go_past_it(wire: AsgiWire, protocol: Protocol) -> None:
    assert write(wire, "", b"") == [True, True]
    assert protocol.past == [("message", b"", False), ("message", b"", True)]


async def test_a_close_goes_past_it_with_any_code_and_its_reason(
    wire: AsgiWire, protocol: Protocol
) -> None:
    assert write(wire, Close(1009, "zu groß"), "late") == [True, False]
    assert protocol.past == [("close", 1009, "zu groß".encode())]
    assert protocol.replies == []


async def test_a_close_keeps_its_place(wire: AsgiWire, protocol: Protocol) -> None:
    write(wire, "one", Close(1011))
    assert protocol.replies == [{"type": "websocket.send", "text": "one"}]
    assert protocol.past == [("close", 1011, b"")]


async def test_before_the_handshake_all_is_the_servers(wire: AsgiWire, protocol: Protocol) -> None:
    protocol.state = protocol.STATE_CONNECTING
    assert write(wire, "one", Close(4000)) == [True, True]
    assert [reply["type"] for reply in protocol.replies] == ["websocket.send", "websocket.close"]


async def test_a_message_that_comes_too_late_is_refused(wire: AsgiWire, protocol: Protocol) -> None:
    errors: list[BaseException] = []
    wire.broken = errors.append
    protocol.state = protocol.STATE_CLOSING
    assert write(wire, "late", "later") == [False, False]
    assert [type(error) for error in errors] == [ConnectionResetError]
    assert wire.abandon() == ["late", "later"]
    assert protocol.replies == protocol.past == []


async def test_a_close_that_comes_too_late_is_nothing(wire: AsgiWire, protocol: Protocol) -> None:
    protocol.state = protocol.STATE_CLOSING
    assert write(wire, Close(1009)) == [True]
    assert protocol.replies == protocol.past == []


async def test_a_door_that_is_not_known_stays_as_it_is(protocol: Protocol) -> None:
    del Protocol.sendMessage
    try:
        assert open_door(protocol, protocol.handle_reply) == protocol.handle_reply
    finally:
        Protocol.sendMessage = lambda self, *sent: self.past.append(("message", *sent))


async def test_a_stopping_daphne_waits_until_all_have_left(
    of_daphne: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    internet = pytest.importorskip("twisted.internet")
    triggers: list[Any] = []

    class Reactor:
        """What of Twisted's reactor is relied on."""

        def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> None:  # noqa: N802
            assert (phase, event) == ("before", "shutdown")
            triggers.append(call)

    monkeypatch.setattr(internet, "reactor", Reactor(), raising=False)
    left: list[str] = []

    async def leave() -> None:
        left.append("all")
        if len(left) > 1:
            raise OSError("asked to")

    for allowed in ("daphne",), ():  # also where its wire is not wanted
        triggers.clear()
        wires = Wires(leave, allowed)
        wires.wire_for(daphne_send(of_daphne))
        wires.wire_for(daphne_send(of_daphne))
        assert len(triggers) == 1
    for _ in range(2):
        deferred = triggers[0]()
        await until(lambda deferred=deferred: deferred.called)
    assert left == ["all", "all"]
    assert "Not all clients left in order" in caplog.text
