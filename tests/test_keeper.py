"""The keeper: what others left behind is seen to, and a beat that fails is followed by the next."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace

import pytest

from django_hub.bells import RING, Bells
from django_hub.exceptions import Unavailable
from django_hub.keeper import Keeper
from django_hub.layers.base import Layer
from django_hub.names import UNHEARD, group_name
from django_hub.notices import NOTICES
from tests.apps import EVENTS, Clock, FaultyLayer, FaultyStore, mail, make_connection
from tests.apps import world as world
from tests.sockets import until


class House:
    """A keeper with all that belongs to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = FaultyStore(clock=self.clock)
        self.layer = FaultyLayer()
        self.bells = Bells(Layer(self.layer))
        self.keeper = Keeper(self.store, self.bells, Layer(self.layer))
        self.beats = 0
        self.failures: list[Exception] = []

    async def beat(self) -> None:
        self.beats += 1
        if self.failures:
            raise self.failures.pop(0)

    async def look(self) -> list[list[str]]:
        """The hubs of each wake that was rung."""
        await self.keeper.once(self.beat)
        await self.bells.idle()
        return [(await self.layer.receive(EVENTS))["hubs"]] if EVENTS in self.layer.channels else []


@pytest.fixture
def house() -> House:
    return House()


async def test_the_dead_are_reaped_and_their_hubs_rung_for(house: House) -> None:
    lost = make_connection("lost")
    await house.store.apply([lost.join_op("dead process")])
    await mail(house.store)
    house.clock.now += house.store.limits.process_lease + 1
    assert await house.look() == [["lobby"]]
    assert await mail(house.store) == [("left", "lost", "lost")]


async def test_the_dead_are_taken_out_of_their_hubs_groups(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything of them goes: where the layer is away, the next look does it."""
    lost = make_connection("lost")
    await house.store.apply([lost.join_op("dead process")])
    house.clock.now += house.store.limits.process_lease + 1
    buried, errors = [], [Unavailable("not now")]

    async def bury(self: Layer, process: str, died: float, groups: Collection[str]) -> None:
        if errors:
            raise errors.pop()
        buried.append((process, died, list(groups)))

    monkeypatch.setattr(Layer, "bury", bury)
    await house.look()
    assert buried == []
    await house.look()
    assert buried == [("dead process", house.clock.now, [group_name("lobby"), group_name(NOTICES)])]


async def test_mail_that_nobody_took_is_rung_for_again(house: House) -> None:
    await house.store.apply([make_connection("ann").join_op("process")])
    assert await house.look() == []
    house.clock.now += house.store.limits.ring_again + 1
    assert await house.look() == [["lobby"]]
    assert await house.look() == []


async def test_mail_that_nobody_takes_is_told_of_once_a_channel(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("django_hub.keeper.time.monotonic", lambda: house.clock.now)
    await house.store.apply([make_connection("ann").join_op("process")])

    async def rung() -> None:
        house.clock.now += house.store.limits.ring_again + 1
        assert await house.look() == [["lobby"]]

    await rung()
    assert caplog.text == ""  # a wake may be lost
    await rung()
    await rung()
    assert caplog.text.count("No worker takes the events of hub lobby") == 1
    assert f"No worker takes the events of hub lobby, on channel '{EVENTS}'." in caplog.text
    # After a long while in which all was taken it is news again.
    house.clock.now += 10 * house.store.limits.ring_again
    await rung()
    await rung()
    assert caplog.text.count("No worker takes the events of hub lobby") == 2


@pytest.mark.parametrize("channel", [UNHEARD, f"{RING}1"])
async def test_mail_that_is_for_no_worker_is_not_told_of(
    house: House, caplog: pytest.LogCaptureFixture, channel: str
) -> None:
    await house.store.apply([replace(make_connection("ann").join_op("process"), events=channel)])
    for _ in range(3):
        house.clock.now += house.store.limits.ring_again + 1
        await house.look()
    assert caplog.text == ""


@pytest.mark.parametrize("error", [Unavailable("gone"), KeyError("bug")])
async def test_what_fails_keeps_nothing_else_from_being_looked_after(
    house: House, error: Exception
) -> None:
    await house.store.apply([make_connection("ann").join_op("process")])
    house.clock.now += house.store.limits.ring_again + 1
    house.failures = [error]
    house.store.fail["reap"] = [error]
    assert await house.look() == [["lobby"]]


@pytest.fixture
async def running(house: House) -> AsyncIterator[House]:
    task = asyncio.create_task(house.keeper.run(house.beat, 0.005))
    yield house
    task.cancel()
    await asyncio.wait([task])


async def test_it_beats_and_looks_on_and_on(running: House) -> None:
    await until(lambda: running.beats > 2 and running.store.calls.count("reap") > 2)


@pytest.mark.parametrize(
    ("error", "words"), [(Unavailable("gone"), "No beat: gone"), (KeyError("bug"), "A beat failed")]
)
async def test_a_beat_that_fails_is_followed_by_the_next(
    running: House, error: Exception, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    running.failures = [error]
    await until(lambda: words in caplog.text)
    beats = running.beats
    await until(lambda: running.beats > beats + 1)
