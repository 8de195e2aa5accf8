import pytest

from django_hub.api import hub_broadcast, hub_create
from django_hub.testing import HubCommunicator, clean_hubs, drain

pytestmark = pytest.mark.usefixtures("clean_hubs")


async def test_all_is_handled_and_answered():
    async with HubCommunicator("/ws/rose/") as ann, HubCommunicator("/ws/tulip/") as bob:
        for number in range(50):
            await ann.send(f"{number}")
            await bob.send("slow" if number < 3 else f"{number}")
        await drain()
        for client in (ann, bob):
            assert len(client.received()) == 100
        await drain()
        assert ann.received() == []


async def test_what_is_broadcast_from_outside_is_there():
    async with HubCommunicator("/ws/rose/") as ann:
        await drain()
        await hub_broadcast("rose", "news")
        await drain()
        assert ann.received() == ["news"]


async def test_what_is_pending_is_told():
    async with HubCommunicator("/ws/echo/") as client:
        await client.send("late")
        with pytest.raises(TimeoutError, match=r"Not drained within 0.01 s: .* of /ws/echo/ is"):
            await drain(timeout=0.01)


async def test_events_that_nobody_handles_are_told(settings):
    settings.DJANGO_HUB = {**settings.DJANGO_HUB, "SHUTDOWN_GRACE": 0.05}
    with pytest.raises(TimeoutError, match="2 events of hub 'rose' wait for their handler"):
        async with clean_hubs():
            await hub_create("rose", events="other-events")
            async with HubCommunicator("/ws/rose/") as ann:
                await ann.send("x")
                with pytest.raises(ValueError, match="other-events"):
                    await drain()
                await drain(timeout=0.05)


async def test_blocks_nest():
    async with clean_hubs(), HubCommunicator("/ws/rose/") as ann:
        await ann.send("x")
        await drain()
        assert await ann.receive_json() == {"said": "x"}
