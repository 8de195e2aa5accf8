"""What the two apps of the demo owe each other: they share a site, and so its hubs."""

import pytest

from demo_project.board.hubs import board_hub, notices_hub
from demo_project.chat.consumers import ChatConsumer
from tests.apps import World
from tests.apps import world as world
from tests.sockets import websocket_scope


@pytest.mark.parametrize("hub", [board_hub(7), notices_hub(7)])
async def test_nobody_comes_into_a_board_by_the_chat(world: World, hub: str) -> None:
    """The chat lets in anybody, into whatever room the address names."""
    socket = await world.open(ChatConsumer.as_asgi(), websocket_scope(hub, query_string=b""))
    assert await socket.close_code() == 4400
