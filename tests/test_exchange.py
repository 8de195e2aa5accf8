"""The exchange: parcels between the relays of one process, on any loop and from any thread."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from django_hub.entries import Entry
from django_hub.layers import exchange as module
from django_hub.layers.base import Target
from django_hub.layers.exchange import Exchange
from tests.apps import world as world
from tests.sockets import turns, until


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


def parcel(number: int) -> dict[str, Any]:
    return {"number": number}


async def take(exchange: Exchange, channel: str, count: int) -> list[int]:
    return [(await exchange.receive(channel))["number"] for _ in range(count)]


async def test_parcels_come_in_order_and_as_they_are(exchange: Exchange) -> None:
    channel = exchange.new_channel()
    sent = [parcel(number) for number in range(5)]
    for each in sent:
        await exchange.send(channel, each)
    for each in sent:
        assert await exchange.receive(channel) is each


async def test_who_waits_is_woken(exchange: Exchange) -> None:
    channel = exchange.new_channel()
    waiting = asyncio.create_task(exchange.receive(channel))
    await turns()
    assert not waiting.done()
    await exchange.send(channel, parcel(1))
    assert await waiting == parcel(1)


async def test_a_group_is_all_its_channels(exchange: Exchange) -> None:
    ann, bob, cy = (exchange.new_channel() for _ in range(3))
    for channel in (ann, bob):
        exchange.group_add("group", channel)
    exchange.group_add("another", cy)
    assert exchange.channels("group") == [ann, bob]
    exchange.group_discard("group", ann)
    assert exchange.channels("group") == [bob]
    exchange.group_discard("group", bob)
    exchange.group_discard("nowhere", bob)
    assert exchange.channels("group") == []
    assert list(exchange._groups) == ["another"]


async def test_it_knows_its_own_channels(exchange: Exchange) -> None:
    assert exchange.knows(exchange.new_channel())
    assert not exchange.knows("chat-events")


async def test_who_sends_waits_while_too_many_wait(exchange: Exchange) -> None:
    channel = exchange.new_channel()
    for number in range(module._WAITING):
        await exchange.send(channel, parcel(number))
    sending = asyncio.create_task(exchange.send(channel, parcel(module._WAITING)))
    await turns()
    assert not sending.done()
    taken = await take(exchange, channel, 1)
    await sending
    assert taken + await take(exchange, channel, module._WAITING) == list(range(module._WAITING + 1))


async def test_who_waits_to_send_goes_on_when_the_channel_is_dropped(exchange: Exchange) -> None:
    channel = exchange.new_channel()
    tray = exchange._trays[channel]
    sending = [asyncio.create_task(exchange.send(channel, parcel(n))) for n in range(module._WAITING + 5)]
    await turns()
    exchange.drop_channel(channel)
    await asyncio.gather(*sending)
    await exchange.send(channel, parcel(0))
    await tray.put(parcel(0))  # as one that was on its way from another thread
    assert not tray._parcels
    exchange.drop_channel(channel)


@pytest.fixture
def elsewhere() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


async def test_parcels_from_another_loop(exchange: Exchange, elsewhere: asyncio.AbstractEventLoop) -> None:
    channel = exchange.new_channel()
    count = 3 * module._WAITING

    async def send() -> None:
        for number in range(count):
            await exchange.send(channel, parcel(number))

    sending = asyncio.run_coroutine_threadsafe(send(), elsewhere)
    assert await take(exchange, channel, count) == list(range(count))
    await until(sending.done)
    assert sending.result() is None


async def test_a_relay_whose_loop_is_closed_takes_nothing(exchange: Exchange) -> None:
    loop = asyncio.new_event_loop()

    async def there() -> str:
        return exchange.new_channel()

    channel = await asyncio.to_thread(run, loop, there)
    await exchange.send(channel, parcel(1))


def run(loop: asyncio.AbstractEventLoop, call: Any) -> Any:
    try:
        return loop.run_until_complete(call())
    finally:
        loop.close()


# What is handed over at once


class Taking:
    def __init__(self) -> None:
        self.taken: list[Entry] = []
        self.is_full = False

    def put(self, entries: Any) -> None:
        self.taken += entries


HELLO = Entry("lobby", "hello")


def taken_by(exchange: Exchange, group: str = "group") -> tuple[str, Taking]:
    channel, taking = exchange.new_channel(), Taking()
    exchange.taken_by(channel, taking)
    exchange.group_add(group, channel)
    return channel, taking


async def test_an_entry_is_there_at_once(exchange: Exchange) -> None:
    (ann, of_ann), (_, of_bob), (_, of_cy) = (
        taken_by(exchange, group) for group in ("group", "group", "other")
    )
    assert exchange.hand_over(Target("group", is_group=True), HELLO)
    assert (of_ann.taken, of_bob.taken, of_cy.taken) == ([HELLO], [HELLO], [])
    assert exchange.hand_over(Target(ann), HELLO)
    assert (of_ann.taken, of_bob.taken) == ([HELLO, HELLO], [HELLO])


@pytest.mark.parametrize("target", [Target("nobody", is_group=True), Target("relay!gone")])
async def test_what_is_for_nobody_goes_the_slow_way(exchange: Exchange, target: Target) -> None:
    """So a sender lets others run, whether its hub has clients or not."""
    assert not exchange.hand_over(target, HELLO)


async def test_it_does_not_overtake_a_parcel(exchange: Exchange) -> None:
    channel, taking = taken_by(exchange)
    await exchange.send(channel, parcel(1))
    assert not exchange.hand_over(Target(channel), HELLO)
    await take(exchange, channel, 1)
    assert exchange.hand_over(Target(channel), HELLO)
    assert taking.taken == [HELLO]


async def test_where_one_is_full_nobody_gets_it(exchange: Exchange) -> None:
    (_, of_ann), (_, of_bob) = taken_by(exchange), taken_by(exchange)
    of_bob.is_full = True
    assert not exchange.hand_over(Target("group", is_group=True), HELLO)
    assert of_ann.taken == of_bob.taken == []


async def test_a_relay_on_another_loop_is_not_reached_at_once(exchange: Exchange) -> None:
    channel, taking = taken_by(exchange)

    async def elsewhere() -> bool:
        return exchange.hand_over(Target(channel), HELLO)

    assert not await asyncio.to_thread(asyncio.run, elsewhere())
    assert taking.taken == []


async def test_a_channel_that_nobody_takes_from_at_once(exchange: Exchange) -> None:
    channel = exchange.new_channel()
    assert not exchange.hand_over(Target(channel), HELLO)
