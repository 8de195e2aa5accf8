"""The wire for Daphne: when it is taken, and what goes past Daphne's door.

The protocol object here stands for Daphne's; the live tests speak with the real one.
"""

import functools
from typing import Any

import pytest
from channels.sessions import InstanceSessionWrapper

from django_hub.messages import Close
from django_hub.wires import daphne
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Outgoing, Wire
from django_hub.wires.choice import Wires
from django_hub.wires.daphne import DaphneWire, find_protocol
from tests.apps import world as world
from tests.sockets import until


class Protocol:
    """What of Daphne's protocol object the wire relies on."""

    STATE_OPEN = 3

    def __init__(self) -> None:
        self.state = self.STATE_OPEN
        self.replies: list[dict[str, Any]] = []
        self.past: list[tuple[Any, ...]] = []

    def handle_reply(self, message: dict[str, Any]) -> None:
        self.replies.append(message)

    def sendCloseFrame(self, code: int, reason: bytes) -> None:  # noqa: N802
        self.past.append(("close", code, reason))

    def sendMessage(self, payload: bytes, binary: bool) -> None:  # noqa: N802
        self.past.append(("message", payload, binary))


class Server:
    async def handle_reply(self, protocol: Protocol, message: dict[str, Any]) -> None:
        protocol.handle_reply(message)


@pytest.fixture
def protocol() -> Protocol:
    return Protocol()


@pytest.fixture
def send(protocol: Protocol) -> Any:
    return functools.partial(Server().handle_reply, protocol)


def wire_for(send: Any) -> Wire:
    """As a relay chooses it, though no reactor runs here that could end."""
    wires = Wires(nobody_leaves)
    wires._daphne_told = True
    return wires.wire_for(send)


async def nobody_leaves() -> None:
    """What a relay does when its server ends."""


def write(wire: Any, *frames: Any) -> list[bool]:
    return [wire.write(Outgoing(frame)) for frame in frames]


def test_daphnes_send_is_known(send: Any, protocol: Protocol) -> None:
    assert find_protocol(send) is protocol
    assert isinstance(wire_for(send), DaphneWire)


def test_it_is_found_behind_the_session_middleware(send: Any, protocol: Protocol) -> None:
    inner = InstanceSessionWrapper({"cookies": {}}, send)
    outer = InstanceSessionWrapper({"session": {}}, inner.send)
    assert find_protocol(outer.send) is protocol


def test_the_real_protocol_has_what_is_relied_on() -> None:
    ws_protocol = pytest.importorskip("daphne.ws_protocol")
    factory = ws_protocol.WebSocketFactory(server_class=None)
    real = factory.buildProtocol(None)
    real.state = real.STATE_CONNECTING  # set when it is connected
    assert find_protocol(functools.partial(Server().handle_reply, real)) is real


async def anybody(message: dict[str, Any]) -> None:
    """The send of another server."""


class Ring:
    """A wrapper around itself."""

    @property
    def real_send(self) -> Any:
        return self.send

    async def send(self, message: dict[str, Any]) -> None:
        """Never called."""


@pytest.mark.parametrize(
    "other",
    [
        anybody,
        functools.partial(anybody, {}),
        functools.partial(anybody),
        functools.partial(anybody, Protocol(), {}),
        Ring().send,
        None,
    ],
    ids=["function", "partial of another", "partial of nothing", "partial of two", "ring", "none"],
)
def test_any_other_send_is_not(other: Any) -> None:
    assert find_protocol(other) is None


@pytest.mark.parametrize("name", daphne._NEEDED)
def test_where_something_is_missing_the_plain_wire_is_used(name: str) -> None:
    partly = type("Partly", (), {each: None for each in daphne._NEEDED if each != name})()
    wire = wire_for(functools.partial(Server().handle_reply, partly))
    assert type(wire) is AsgiWire


async def test_a_stopping_daphne_waits_until_all_have_left(
    send: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
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

    wires = Wires(leave)
    wires.wire_for(send)
    wires.wire_for(send)
    (trigger,) = triggers
    for _ in range(2):
        deferred = trigger()
        await until(lambda deferred=deferred: deferred.called)
    assert left == ["all", "all"]
    assert "Not all clients left in order" in caplog.text


async def test_messages_go_through_the_door(send: Any, protocol: Protocol) -> None:
    assert write(wire_for(send), "text", b"bytes") == [True, True]
    assert protocol.replies == [
        {"type": "websocket.send", "text": "text"},
        {"type": "websocket.send", "bytes": b"bytes"},
    ]
    assert protocol.past == []


async def test_empty_messages_go_past_it(send: Any, protocol: Protocol) -> None:
    assert write(wire_for(send), "", b"") == [True, True]
    assert protocol.past == [("message", b"", False), ("message", b"", True)]


async def test_a_close_goes_past_it_with_any_code_and_its_reason(send: Any, protocol: Protocol) -> None:
    wire = wire_for(send)
    assert write(wire, Close(1009, "zu groß"), "late") == [True, False]
    assert protocol.past == [("close", 1009, "zu groß".encode())]
    assert protocol.replies == []


async def test_a_protocol_that_is_not_open_is_left_alone(send: Any, protocol: Protocol) -> None:
    protocol.state = 1
    assert write(wire_for(send), "", Close(1009)) == [True, True]
    assert protocol.past == []


async def test_a_close_keeps_its_place(send: Any, protocol: Protocol) -> None:
    wire = wire_for(send)
    write(wire, "one", Close(1011))
    assert protocol.replies == [{"type": "websocket.send", "text": "one"}]
    assert protocol.past == [("close", 1011, b"")]
