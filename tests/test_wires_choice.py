"""Which wire a client gets: by its server's own objects, and by what is there of them."""

import asyncio
import functools
import signal
import socket
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from channels.sessions import InstanceSessionWrapper

from django_hub import conf
from django_hub.wires import choice, daphne, inbox
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.choice import Wires
from django_hub.wires.daphne import DaphneTlsWire, DaphneWire
from django_hub.wires.direct import DirectWire
from django_hub.wires.uvicorn import LegacyUvicornWire, UvicornWire
from tests.sockets import until


async def nobody_leaves() -> None:
    """What a relay does when its server ends."""


def make_wires(allowed: tuple[str, ...] = conf.WIRES) -> Wires:
    """As a relay has them, though no reactor runs here that could end."""
    wires = Wires(nobody_leaves, allowed)
    wires._daphne_told = True
    return wires


async def anybody(*_: Any) -> None:
    """The application, or the send, of another server."""


async def application(scope: Any, receive: Any, send: Any) -> None:
    """What uvicorn serves; nobody comes."""


class Server:
    """What of Daphne's server object is relied on."""

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        protocol.handle_reply(message)


def twisted_connection() -> Any:
    """A connection of Twisted's own, of a socket that leads nowhere, with no reactor."""
    tcp = pytest.importorskip("twisted.internet.tcp")

    class Reactor:
        def removeReader(self, reader: Any) -> None: ...  # noqa: N802
        def removeWriter(self, writer: Any) -> None: ...  # noqa: N802

    return tcp.Connection(socket.socket(), None, Reactor())


def daphne_protocol() -> Any:
    ws_protocol = pytest.importorskip("daphne.ws_protocol")
    protocol = ws_protocol.WebSocketFactory(server_class=None).buildProtocol(None)
    protocol.state, protocol.closeHandshakeTimeout = (
        protocol.STATE_CONNECTING,
        1,
    )  # set when it is connected
    protocol.transport = twisted_connection()
    protocol.application_queue = asyncio.Queue()
    return protocol


@pytest.fixture
def of_daphne() -> Iterator[Any]:
    protocol = daphne_protocol()
    yield protocol
    protocol.transport.socket.close()


def daphne_send(protocol: Any) -> Any:
    return functools.partial(Server().handle_reply, protocol)


class Transport(asyncio.Transport):
    """A transport as asyncio describes it; what is not used raises NotImplementedError."""

    limits: tuple[int, int] | None = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.limits = (high or 0, low or 0)


async def uvicorn_protocol(ws: str) -> Any:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

    config = Config(application, ws=ws, log_config=None, interface="asgi3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one of them is deprecated
        config.load()
        protocol = config.ws_protocol_class(config=config, server_state=ServerState(), app_state={})
    protocol.transport = Transport()
    return protocol


@pytest.fixture(params=["websockets-sansio", "websockets", "wsproto"])
async def of_uvicorn(request: pytest.FixtureRequest) -> Any:
    return await uvicorn_protocol(request.param)


def uvicorn_send(protocol: Any) -> Any:
    return getattr(protocol, "asgi_send", None) or protocol.send


def needed_of(protocol: Any) -> tuple[str, ...]:
    kind = LegacyUvicornWire if hasattr(protocol, "asgi_send") else UvicornWire
    return kind.needed


def test_there_is_a_wire_for_each_name_that_may_be_set() -> None:
    assert tuple(choice._SERVERS) == conf.WIRES


# The end of the server


class Listener:
    """What of an asyncio.Server is relied on."""

    closed = False

    def close(self) -> None:
        self.closed = True


class ServerOfUvicorn:
    """What of uvicorn's server object is relied on."""

    def __init__(self) -> None:
        self.servers = [Listener(), Listener()]
        self.heard: list[int] = []

    def handle_exit(self, number: int, frame: Any) -> None:
        self.heard.append(number)


@pytest.fixture
def sigterm() -> Iterator[Any]:
    """Whoever listens to SIGTERM is put back in the end."""
    before = signal.getsignal(signal.SIGTERM)
    yield functools.partial(signal.signal, signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)


async def test_on_sigterm_a_server_stops_to_listen_then_drains_then_hears_it(
    sigterm: Any, of_uvicorn: Any
) -> None:
    server = ServerOfUvicorn()
    sigterm(server.handle_exit)
    states: list[tuple[list[bool], list[int]]] = []

    async def drain() -> None:
        states.append(([listener.closed for listener in server.servers], list(server.heard)))

    wires = Wires(nobody_leaves, drain=drain)
    # Each further client changes nothing.
    for _ in range(3):
        wires.wire_for(uvicorn_send(of_uvicorn))
    signal.raise_signal(signal.SIGTERM)
    await until(lambda: server.heard == [signal.SIGTERM])
    assert states == [([True, True], [])]


async def test_what_has_no_listeners_is_drained_all_the_same(sigterm: Any, of_uvicorn: Any) -> None:
    heard: list[int] = []
    drained = asyncio.Event()
    sigterm(lambda number, frame: heard.append(number))

    async def drain() -> None:
        drained.set()

    Wires(nobody_leaves, drain=drain).wire_for(uvicorn_send(of_uvicorn))
    signal.raise_signal(signal.SIGTERM)
    await until(lambda: heard == [signal.SIGTERM])
    assert drained.is_set()


async def test_that_nobody_listens_to_sigterm_is_said_once(
    sigterm: Any, of_uvicorn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    sigterm(signal.SIG_DFL)
    wires = Wires(nobody_leaves, drain=nobody_leaves)
    for _ in range(3):
        wires.wire_for(uvicorn_send(of_uvicorn))
    assert caplog.text.count("DRAIN has no effect") == 1
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_without_drain_sigterm_is_the_servers(sigterm: Any, of_uvicorn: Any) -> None:
    server = ServerOfUvicorn()
    theirs = server.handle_exit
    sigterm(theirs)
    Wires(nobody_leaves).wire_for(uvicorn_send(of_uvicorn))
    assert signal.getsignal(signal.SIGTERM) is theirs


# Daphne


async def test_daphnes_send_is_known(of_daphne: Any) -> None:
    wire = make_wires().wire_for(daphne_send(of_daphne))
    assert type(wire) is DaphneWire
    assert daphne.find_protocol(daphne_send(of_daphne)) is of_daphne


async def test_it_is_found_behind_the_session_middleware(of_daphne: Any) -> None:
    inner = InstanceSessionWrapper({"cookies": {}}, daphne_send(of_daphne))
    outer = InstanceSessionWrapper({"session": {}}, inner.send)
    assert type(make_wires().wire_for(outer.send)) is DaphneWire


async def test_tls_is_known_for_what_it_is(of_daphne: Any) -> None:
    """A layer passes on the attributes of what is below: its socket is not to be written to."""
    policies = pytest.importorskip("twisted.protocols.policies")
    layer = policies.ProtocolWrapper(None, of_daphne)
    layer.transport, of_daphne.transport = of_daphne.transport, layer
    assert layer.socket is layer.transport.socket
    assert type(make_wires().wire_for(daphne_send(of_daphne))) is DaphneTlsWire
    of_daphne.transport = layer.transport


_DAPHNE_NEEDS = [
    *daphne._DOOR,
    # Without TLS both are one, and so is what is asked of both.
    *(f"transport.{name}" for name in dict.fromkeys((*daphne._TRANSPORT, *daphne._CONNECTION))),
]


@pytest.mark.parametrize("name", _DAPHNE_NEEDS)
async def test_what_a_new_daphne_lacks_is_named(
    of_daphne: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    wires = make_wires()
    with missing(of_daphne, name):
        for _ in range(2):
            assert type(wires.wire_for(daphne_send(of_daphne))) is AsgiWire
    # Some are missed by the inbox as well, which tells of its own.
    (record,) = (record for record in caplog.records if "own send()" in record.getMessage())
    assert record.levelname == "WARNING"
    assert "This daphne is not as expected" in record.getMessage()
    assert f".{name.rpartition('transport.')[2]}." in record.getMessage()


@pytest.mark.parametrize("name", inbox.NEEDED)
async def test_what_a_daphne_lacks_that_can_not_be_kept_from_reading_is_named(
    of_daphne: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    wires = make_wires(())
    send = daphne_send(of_daphne)
    with missing(of_daphne, name):
        for _ in range(2):
            wires.wire_for(send)
            assert not wires.stops_reading(send)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f".{name.rpartition('transport.')[2]}. It can't be kept from reading" in record.getMessage()


async def test_all_known_servers_stop_reading(of_daphne: Any, of_uvicorn: Any) -> None:
    for allowed in conf.WIRES, ():
        wires = make_wires(allowed)
        for send in (daphne_send(of_daphne), uvicorn_send(of_uvicorn), anybody):
            outer = InstanceSessionWrapper({"cookies": {}}, send)
            wires.wire_for(outer.send)
            assert wires.stops_reading(outer.send)


async def test_a_transport_that_is_none_of_twisteds_is_named(
    of_daphne: Any, caplog: pytest.LogCaptureFixture
) -> None:
    transport, of_daphne.transport = of_daphne.transport, daphne_protocol()
    of_daphne.transport.write = of_daphne.transport.abortConnection = None
    of_daphne.transport.transport.socket.close()
    of_daphne.transport.transport = None
    assert type(make_wires().wire_for(daphne_send(of_daphne))) is AsgiWire
    assert "no TCP connection below" in caplog.text
    of_daphne.transport = transport


async def test_a_connection_on_which_tls_was_started(
    of_daphne: Any, caplog: pytest.LogCaptureFixture
) -> None:
    of_daphne.transport.TLS = True
    assert type(make_wires().wire_for(daphne_send(of_daphne))) is AsgiWire
    assert "without startTLS" in caplog.text


# uvicorn


async def test_uvicorns_send_is_known(of_uvicorn: Any) -> None:
    wire = make_wires().wire_for(uvicorn_send(of_uvicorn))
    legacy = hasattr(of_uvicorn, "asgi_send")
    assert type(wire) is (LegacyUvicornWire if legacy else UvicornWire)
    assert of_uvicorn.transport.limits == (0, 0)


async def test_uvicorns_is_found_behind_the_session_middleware(of_uvicorn: Any) -> None:
    wrapper = InstanceSessionWrapper({"cookies": {}}, uvicorn_send(of_uvicorn))
    assert isinstance(make_wires().wire_for(wrapper.send), DirectWire)


async def test_what_a_new_uvicorn_lacks_is_named(of_uvicorn: Any, caplog: pytest.LogCaptureFixture) -> None:
    for name in needed_of(of_uvicorn):
        caplog.clear()
        wires = make_wires()
        with missing(of_uvicorn, name):
            for _ in range(2):
                assert type(wires.wire_for(uvicorn_send(of_uvicorn))) is AsgiWire
        (record,) = caplog.records
        assert "This uvicorn is not as expected" in record.getMessage()
        assert f".{name}. " in record.getMessage()
    assert isinstance(make_wires().wire_for(uvicorn_send(of_uvicorn)), DirectWire)


# Any other


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
        functools.partial(anybody, {}, {}),
        Ring().send,
    ],
    ids=["function", "partial of another", "partial of nothing", "partial of two", "ring"],
)
async def test_any_other_send_is_taken_as_it_is(other: Any, caplog: pytest.LogCaptureFixture) -> None:
    wire = make_wires().wire_for(other)
    assert type(wire) is AsgiWire
    assert wire._send is other
    assert not caplog.records


async def test_what_is_not_allowed_is_not_gone_past(
    of_daphne: Any, of_uvicorn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert type(make_wires(("uvicorn",)).wire_for(daphne_send(of_daphne))) is AsgiWire
    assert type(make_wires(("daphne",)).wire_for(uvicorn_send(of_uvicorn))) is AsgiWire
    assert type(make_wires(()).wire_for(uvicorn_send(of_uvicorn))) is AsgiWire
    assert not caplog.records


class missing:  # noqa: N801 (read as a sentence)
    """Inside the block, getting a dotted attribute of ``thing`` fails as if it were not there."""

    def __init__(self, thing: Any, name: str) -> None:
        path, _, self._name = name.rpartition(".")
        self._owner = functools.reduce(getattr, path.split("."), thing) if path else thing
        if path == "writable" or path.endswith("_waiter") or path in ("state", "transport.socket"):
            # The thing is there, and is another.
            self._owner = functools.reduce(getattr, path.split(".")[:-1], thing)
            self._name = path.rpartition(".")[2]
        self._kind = type(self._owner)

    def __enter__(self) -> None:
        name = self._name

        class Without(self._kind):  # type: ignore[name-defined,misc]
            def __getattribute__(self, asked: str) -> Any:
                if asked == name:
                    raise AttributeError(asked)
                return super().__getattribute__(asked)

        Without.__name__ = self._kind.__name__
        Without.__module__ = self._kind.__module__
        self._owner.__class__ = Without

    def __exit__(self, *_: object) -> None:
        self._owner.__class__ = self._kind
