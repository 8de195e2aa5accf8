"""A broadcast to a thousand clients of one server process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from benchmarks import stage
from benchmarks.generator import Measured, Option, generate
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.peer import module_missing
from benchmarks.scenario import Comparison, Contender, Figure, Measure, Scenario

RATE = Figure("rate", "deliveries/s")
SERVER_CPU = Figure("cpu_us", "µs of the server's CPU a delivery")
BUSY = Figure("busy", "% of its core the generator was busy", scale=100)

_OURS, _BARE, _STOCK = "django_hub", "bare loop", "stock Channels"
_PATHS = {_OURS: "/hub/fan/h/", _BARE: "/bare/fan/h/", _STOCK: "/stock/fan/h/"}

_NOTE = (
    "In memory; uvicorn has `websockets-sansio` on uvloop. Nobody compresses, for no client offers it; "
    "each server pings as it ships, every 20 seconds or more, which is longer than what is measured."
)


def _load(burst: int, clients: int) -> Mapping[str, Option]:
    # A round that takes long is slow, and has lost nothing.
    return {"clients": clients, "burst": burst, "patience": 60.0}


def on_site(
    kind: str,
    path: str,
    burst: int,
    clients: int,
    speech: Mapping[str, Option] = MappingProxyType({}),
    **env: str,
) -> Measure:
    async def measure(seconds: float) -> Measured:
        async with stage.alone(kind, **env) as server:
            load = {**speech, **_load(burst, clients), "seconds": seconds}
            return await generate(server.port, path, "rounds", stage.OTHERS, load, server.pid)

    return measure


def _on_peer(peer: Peer, burst: int, clients: int) -> Measure:
    async def measure(seconds: float) -> Measured:
        server = peer.server()
        async with stage.running(server, cores=stage.SERVER):
            load = {**peer.speech, **_load(burst, clients), "seconds": seconds}
            return await generate(server.port, peer.path, "rounds", stage.OTHERS, load, server.pid)

    return measure


def _named(what: str, kind: str) -> str:
    return f"{what}, {kind}"


def _compare(one: str, other: str, must: float | None = None, aim: float | None = None) -> Comparison:
    return Comparison(one=one, other=other, figure=RATE, must=must, aim=aim)


def _comparisons(burst: int) -> Sequence[Comparison]:
    daphne, uvicorn = _named(_OURS, "daphne"), _named(_OURS, "uvicorn")
    if burst == 1:
        return (
            _compare(daphne, _named(_BARE, "daphne"), 6, 8),
            _compare(daphne, _named(_STOCK, "daphne"), 45, 70),
            _compare(uvicorn, _named(_BARE, "uvicorn"), 1.6, 2.2),
            _compare(uvicorn, _named(_STOCK, "uvicorn"), 45),
            _compare(uvicorn, "python-socketio", 12),
            _compare(uvicorn, "Socket.IO on Node", 1.4),
            _compare(uvicorn, "nchan", 1.0),
            _compare(uvicorn, "Bun", aim=0.9),
        )
    levels = {"Socket.IO on Node": (5, 10), "Bun": (0.4, 0.8)}
    return [
        _compare(ours, other, *levels.get(other, (None, None)))
        for ours, kind in ((daphne, "daphne"), (uvicorn, "uvicorn"))
        for other in (_named(_BARE, kind), _named(_STOCK, kind), *(peer.name for peer in PEERS))
    ]


def scenario(burst: int, clients: int = 1000) -> Scenario:
    return Scenario(
        name=f"fan-out-{burst}",
        title=f"A broadcast of 100 bytes to {clients:,} clients of one server process on one core, "
        + ("one at a time" if burst == 1 else f"{burst} waiting"),
        figures=(RATE, SERVER_CPU, BUSY),
        contenders=[
            *(
                Contender(name=_named(what, kind), measure=on_site(kind, path, burst, clients))
                for kind in ("daphne", "uvicorn")
                for what, path in _PATHS.items()
            ),
            *(
                Contender(name=peer.name, measure=_on_peer(peer, burst, clients), missing=peer.missing)
                for peer in PEERS
            ),
        ],
        comparisons=_comparisons(burst),
        note=_NOTE,
    )


def _through_send(clients: int = 1000) -> Scenario:
    """The wire for any server. Of those that have one of their own, without it."""
    kinds = ("hypercorn", "granian", "daphne", "uvicorn")
    return Scenario(
        name="fan-out-asgi",
        title=f"A broadcast to {clients:,} clients through a server's ASGI `send`, one at a time: on "
        "servers without a wire of their own, and on those that have one with `WIRES = ()`",
        figures=(RATE, SERVER_CPU, BUSY),
        contenders=[
            Contender(
                name=_named(what, kind),
                measure=on_site(kind, _PATHS[what], 1, clients, WIRES="off"),
                missing=module_missing(kind, "bench"),
            )
            for kind in kinds
            for what in (_OURS, _BARE)
        ],
        comparisons=[_compare(_named(_OURS, kind), _named(_BARE, kind), 0.9) for kind in kinds],
        note="The bare loop awaits each client's `send` before the next one's, as stock code does.",
    )


SCENARIOS = [scenario(1), scenario(16), _through_send()]
