"""A close that meets broadcasts, whoever closes: the client gets whole frames in order, then the close."""

import asyncio

import pytest

from tests.live.peer import Peer, Place
from tests.live.servers import eventually
from tests.live.test_slow import numbers
from tests.live.test_slow import running as running
from tests.live.test_slow import site as site


async def ended(site: Place, sockets: int = 0) -> None:
    await eventually(lambda: site.desk(f"Room.sockets == here() == len(get_relay().fanout) == {sockets}"))


async def whole_and_in_order(peer: Peer) -> int:
    """How many messages came before the close."""
    got = numbers(await peer.read_up_to_close())
    assert got == list(range(len(got)))
    return len(got)


@pytest.mark.parametrize("stalled", [False, True], ids=["reading", "stalled"])
async def test_a_hub_is_destroyed_while_it_is_broadcast_to(site: Place, stalled: bool) -> None:
    """What was sent before comes, also what waited; of what is sent meanwhile, as much as the hub took."""
    async with site.member("ann") as ann, site.member("bob") as bob:
        destroying = asyncio.create_task(site.desk(f"destroy_amid_broadcasts('lobby', {5 * stalled})"))
        if stalled:
            await asyncio.wait([destroying])
        got = [await whole_and_in_order(peer) for peer in (ann, bob)]
        sent = await destroying
        assert all(sent <= count <= sent + 20 for count in got)
        for peer in (ann, bob):
            assert peer.close == (4410, "the hub has ended")
            await peer.eof()
    await ended(site)
    assert site.server.complaints() == []


async def test_clients_close_and_reset_while_they_are_broadcast_to(site: Place) -> None:
    async with site.member("bob") as bob:
        for number in range(5):
            async with site.member(f"ann{number}") as ann, site.member(f"eve{number}") as eve:
                sending = asyncio.create_task(site.desk("broadcast('lobby', 0, 300, 1_000)"))
                await ann.read_bytes(5_000)
                await eve.read_bytes(5_000)
                await ann.leave(4_000)
                eve.reset()
                assert numbers(await bob.read(300)) == list(range(300))
                await whole_and_in_order(ann)
                assert ann.close is not None
                await ann.eof()
                await sending
            await ended(site, sockets=1)
            left = f"all(farewell(who + '{number}') for who in ('ann', 'eve'))"
            await eventually(lambda left=left: site.desk(left))
            assert (await site.desk(f"farewell('ann{number}')"))[0] == "close"
    assert site.server.complaints() == []


async def test_a_client_that_reads_a_byte_now_and_then_is_slow(site: Place) -> None:
    """That it takes something is not enough: it has what it was sent in the order of it, and is closed."""
    async with site.member("drip") as drip, site.member("ann") as ann:
        sent = 0
        while not (left := await site.desk("farewell('drip')")):
            await site.desk("broadcast('lobby', 0, 10, 20_000)")
            assert numbers(await ann.read(10)) == list(range(10))
            await drip.read_bytes(1)
            drip.stall()
            sent += 10
            assert sent < 10_000
        assert left[:2] == ("slow", 4008)
        got = numbers(await drip.read_up_to_close())
        assert got == [number % 10 for number in range(len(got))]
        assert drip.close == (4008, "slow")
    await ended(site)
