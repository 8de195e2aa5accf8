"""Stock consumers that are put into their hub before they accept, on each kind of server."""

import pytest
import websockets

from tests.live.peer import Desk, Peer
from tests.live.servers import eventually
from tests.live.test_other_servers import SERVERS as OTHERS
from tests.live.test_slow import SERVERS as KNOWN

SERVERS = {**KNOWN, **OTHERS}


@pytest.mark.parametrize("kind", SERVERS)
async def test_what_is_said_before_the_accept_comes_behind_it(kind: str) -> None:
    async with SERVERS[kind]() as server, Desk(server) as desk:
        for consumer in ("early", "threads"):
            async with Peer(server, f"{consumer}/{consumer}/ann/") as ann:
                assert [int(str(each).split()[0]) for each in await ann.read(20)] == list(range(20))
                await desk(f"broadcast('{consumer}', 20, 21, 10)")
                assert (await ann.read(1))[0].split()[0] == "20"
            with pytest.raises(websockets.InvalidStatus, match="403"):
                await websockets.connect(server.ws_url(f"/{consumer}/{consumer}/refused/"))
            left = await eventually(lambda: desk("farewell('refused')"))
            # What a server has taken counts as delivered: granian drops it without a word.
            assert left == ("close", left[1], [] if kind == "granian" else list(range(10)))
            await desk("left.clear()")
            await eventually(lambda: desk("here() == 0"))
        assert server.complaints() == []
