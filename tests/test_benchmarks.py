"""The benchmarks run, and write what they measured. How fast anything is, is no concern of a test."""

import asyncio
import contextlib
import dataclasses
import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, broadcast, serve

if sys.platform != "linux":
    pytest.skip("the benchmarks pin processes to cores, and read /proc", allow_module_level=True)

from benchmarks import plots, report, stage, tables
from benchmarks.__main__ import measured
from benchmarks.generator import Option, binary, generate, held, trivial_server
from benchmarks.pairs import compared
from benchmarks.peers import PEERS, Peer
from benchmarks.peers.peer import SOCKET_IO, SOCKET_IO_PATH
from benchmarks.results import Range, Result
from benchmarks.scenario import Comparison, Contender, Figure, Scenario
from benchmarks.scenarios import SCENARIOS, fan_out
from benchmarks.scenarios import measured as in_turn
from tests.live.servers import MS, eventually, free_port

RATE = Figure("rate", "deliveries/s")
OURS, BARE = "django_hub, uvicorn", "bare loop, uvicorn"


async def nothing(seconds: float) -> dict[str, float]:
    raise NotImplementedError


def made_up(*rounds: tuple[float, float], scenario: str = "fan-out-1", missing: str = "") -> Result:
    others = {"cpu_us": 1.0, "busy": 0.5}
    return Result(
        scenario=scenario,
        date="2026-01-01",
        machine="a machine",
        versions="versions",
        seconds=1.0,
        rounds=[{OURS: {**others, "rate": ours}, BARE: {**others, "rate": bare}} for ours, bare in rounds],
        missing={"Bun": missing} if missing else {},
    )


def scenario_of(*comparisons: Comparison) -> Scenario:
    return Scenario(
        name="fan-out-1",
        title="A title",
        figures=(RATE,),
        contenders=(Contender(name=OURS, measure=nothing), Contender(name=BARE, measure=nothing)),
        comparisons=comparisons,
    )


@pytest.fixture
def compiled() -> None:
    try:
        binary()
    except RuntimeError as missing:
        pytest.skip(str(missing))


def test_a_ratio_is_of_the_figures_of_one_round() -> None:
    # The medians' own ratio would be 100 / 20.
    result = made_up((100, 10), (30, 20), (400, 100))
    ratio = Comparison(one=OURS, other=BARE, figure=RATE)
    assert result.compared(ratio) == Range(median=4, least=1.5, most=10)
    assert result.compared(dataclasses.replace(ratio, difference=True)) == Range(90, 10, 300)
    assert result.compared(dataclasses.replace(ratio, other=None)) == Range(100, 30, 400)
    assert result.compared(dataclasses.replace(ratio, other="Bun")) is None


@pytest.mark.parametrize(
    ("ratio", "most", "verdict"),
    [
        (9, False, "must and aim"),
        (6, False, "must"),
        (5.9, False, tables.MISSED),
        (9, True, tables.MISSED),
        (7, True, "aim"),
        (5, True, "must and aim"),
    ],
)
def test_a_table_says_which_levels_are_reached(ratio: float, most: bool, verdict: str) -> None:
    level = Comparison(one=OURS, other=BARE, figure=RATE, must=6, aim=8, most=most)
    page = tables.section(scenario_of(level), made_up((ratio, 1)))
    row = next(line for line in page if line.startswith(f"| {OURS} / {BARE}"))
    assert row.endswith(f"| {verdict} |")


def test_a_comparison_without_a_level_has_no_verdict() -> None:
    page = tables.section(scenario_of(Comparison(one=OURS, other=BARE, figure=RATE)), made_up((4, 2)))
    assert f"| {OURS} / {BARE}: deliveries/s | 2 × |  |  |  |" in page


def test_what_is_on_in_its_turn_is_told_from_a_machines_drift() -> None:
    drift = random.Random(7)
    slow, turns = 1.0, []
    for number in range(400):
        # The machine gets slower all the time, by more than what is looked for, and trembles.
        slow *= 1.002
        on = number % 4 in (1, 2)
        turns.append((on, slow * drift.uniform(0.95, 1.05) * (1.05 if on else 1.0)))
    found = compared(turns)
    assert found["pairs"] == 100
    assert 3 < found["least"] < found["more"] < found["most"] < 7
    assert found["most"] - found["least"] < 4


@pytest.mark.parametrize("turns", [[(False, 1.0)] * 3, [(True, 1.0)] * 4])
def test_turns_in_another_order_are_refused(turns: list[tuple[bool, float]]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        compared(turns)


@pytest.mark.live
@pytest.mark.may_skip
@pytest.mark.usefixtures("compiled")
async def test_a_server_takes_turns() -> None:
    pytest.importorskip("prometheus_client")
    whole = in_turn.scenario(2, clients=5)
    (contender,) = [each for each in whole.contenders if each.name == "METRICS, uvicorn"]
    figures = await contender.measure(0.1)
    assert figures["pairs"] > 1
    assert figures["least"] <= figures["more"] <= figures["most"]


def test_the_page_is_written_from_what_is_in_the_folder(tmp_path: Path) -> None:
    made_up((100, 10), missing="it is not installed").write(tmp_path)
    made_up((50, 10), scenario="fan-out-16").write(tmp_path)
    page = report.write(tmp_path).read_text()
    assert "## fan-out-1\n" in page
    assert "## fan-out-16\n" in page
    assert "On a machine; versions." in page
    assert "Left out: Bun: it is not installed." in page
    assert "1 of 1 levels are reached" in page  # that to the bare loop: the others are not there


def test_the_scenarios_agree_with_themselves() -> None:
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    for scenario in SCENARIOS:
        names = [contender.name for contender in scenario.contenders]
        assert len(set(names)) == len(names)
        for comparison in scenario.comparisons:
            assert comparison.one in names
            assert comparison.other in {None, *names}


@pytest.mark.may_skip
@pytest.mark.parametrize("name", ["fan-out", "idle-memory", "growth"])
def test_a_plot_is_drawn(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    scenario = next(each for each in SCENARIOS if each.name.startswith(name))
    key = scenario.figures[0].key
    rounds = [{each.name: {key: 1000.0 * shift} for each in scenario.contenders} for shift in (1, 2, 3)]
    result = dataclasses.replace(made_up(), scenario=scenario.name, rounds=rounds)
    (drawn,) = plots.draw(tmp_path, {scenario.name: (scenario, result)}).values()
    assert drawn.read_bytes().startswith(b"\x89PNG")


@pytest.mark.live
@pytest.mark.may_skip
@pytest.mark.usefixtures("compiled")
async def test_a_round_is_measured_and_written(tmp_path: Path) -> None:
    whole = fan_out.scenario(1, clients=10)
    contenders = [each for each in whole.contenders if each.name in {OURS, BARE}]
    absent = Contender(name="Bun", measure=nothing, missing=lambda: "it is not here")
    scenario = dataclasses.replace(whole, contenders=[*contenders, absent])
    result = await measured(scenario, 1, 0.2)
    assert result.contenders == [OURS, BARE]
    for name in result.contenders:
        figures = result.rounds[0][name]
        assert figures["clients"] == 10
        assert figures["frames"] == figures["rounds"] * 10 > 0
        assert figures["cpu_us"] > 0
        assert not result.lost(name)
    result.write(tmp_path)
    page = report.write(tmp_path).read_text()
    assert f"| {OURS} / {BARE}: deliveries/s |" in page
    assert "Left out: Bun: it is not here." in page
    assert json.loads((tmp_path / "fan-out-1.json").read_text())["rounds"] == result.rounds
    assert (tmp_path / "fan-out.png").exists() == bool(importlib.util.find_spec("matplotlib"))


@pytest.mark.live
@pytest.mark.may_skip
@pytest.mark.usefixtures("compiled")
async def test_rounds_are_counted_without_who_does_not_read() -> None:
    port = free_port()
    async with trivial_server(port, stage.SERVER, 10) as server:
        load: dict[str, Option] = {
            "clients": 10,
            "stalled": 2,
            "burst": 3,
            "ahead": 2,
            "rounds": 5,
            "warmup": 0,
        }
        figures = await generate(port, "/", "rounds", stage.OTHERS, load, server)
    assert figures["rounds"] == 5
    assert figures["frames"] == 5 * 3 * 8
    assert figures["missing"] == figures["closed"] == 0


@pytest.mark.live
@pytest.mark.may_skip
@pytest.mark.usefixtures("compiled")
async def test_the_generator_speaks_socket_io() -> None:
    room: set[ServerConnection] = set()
    pongs = 0

    async def talk(socket: ServerConnection) -> None:
        nonlocal pongs
        await socket.send('0{"sid":"s"}')
        async for text in socket:
            if text == "40":
                room.add(socket)
                await socket.send('40{"sid":"s"}')
                await socket.send("2")
            elif text == "3":
                pongs += 1
            else:
                assert text == f'42["say","{"x" * 100}"]'
                broadcast(room, f'42["said","{"x" * 100}"]')

    async with serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        load = {**SOCKET_IO, "clients": 5, "rounds": 4, "warmup": 0}
        figures = await generate(port, SOCKET_IO_PATH, "rounds", stage.OTHERS, load)
    assert figures["frames"] == 4 * 5
    assert pongs == 5


@pytest.mark.live
@pytest.mark.may_skip
@pytest.mark.usefixtures("compiled")
async def test_only_frames_that_count_end_a_round() -> None:
    async def talk(socket: ServerConnection) -> None:
        async for _ in socket:
            await socket.send("6")

    async with serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        load: dict[str, Option] = {"counts": "42", "rounds": 2, "warmup": 0, "patience": 0.1}
        figures = await generate(port, "/", "rounds", stage.OTHERS, load)
    assert figures["frames"] == 0
    assert figures["missing"] == 2


@pytest.mark.live
@pytest.mark.may_skip
@pytest.mark.usefixtures("compiled")
async def test_a_window_holds_back_what_is_said_in_other_hubs() -> None:
    waiting: list[ServerConnection] = []
    most = 0

    async def answer_two(socket: ServerConnection) -> None:
        nonlocal most
        async for _ in socket:
            waiting.append(socket)
            if len(waiting) == 2:
                await asyncio.sleep(50 * MS)  # a third would come now
                most = max(most, len(waiting))
                for each in waiting:
                    await each.send("answer")
                waiting.clear()

    async with serve(answer_two, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        load: dict[str, Option] = {"clients": 6, "hubs": 6, "window": 2, "rounds": 2, "warmup": 0}
        figures = await generate(port, "/", "rounds", stage.OTHERS, load)
    assert figures["frames"] == 2 * 6
    assert most == 2


@pytest.mark.live
@pytest.mark.may_skip
@pytest.mark.usefixtures("compiled")
async def test_held_clients_stay_until_the_end() -> None:
    there = set()

    async def stay(socket: ServerConnection) -> None:
        there.add(socket)
        with contextlib.suppress(Exception):
            await socket.wait_closed()
        there.discard(socket)

    async with serve(stay, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with held(port, "/", stage.OTHERS, clients=7):
            assert len(there) == 7
        await eventually(lambda: not there)


@pytest.mark.live
@pytest.mark.may_skip
@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
async def test_a_peer_that_is_here_delivers(peer: Peer) -> None:
    if missing := peer.missing():
        pytest.skip(missing)
    server = peer.server()
    async with stage.running(server, cores=stage.SERVER):
        load = {**peer.speech, "clients": 10, "burst": 4, "rounds": 3, "warmup": 0, "patience": 10}
        figures = await generate(server.port, peer.path, "rounds", stage.OTHERS, load, server.pid)
    assert figures["frames"] == 3 * 4 * 10
    assert figures["missing"] == figures["closed"] == 0
