"""One trace over real processes: a server's socket, a worker's handler, and what that sends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.live.servers import Process, eventually
from tests.live.site import Start, said


def spans(folder: Path, process: Process) -> dict[str, dict[str, Any]]:
    """Those that the process has written, by their ids."""
    file = folder / f"{process.pid}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return {span["context"]["span_id"]: span for span in map(json.loads, lines)}


@pytest.mark.heavy
async def test_socket_handler_and_broadcast_are_one_trace(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACES", str(tmp_path))
    site = await start(workers=1, TRACING=True)
    (worker,) = site.workers
    hears = await site.enter(site.servers[1], "room", "bob")
    for server in site.servers:
        name = f"speaker-{server.name}"
        speaker = await site.enter(server, "room", name)
        await speaker.say("hello")
        await said(hears, 1)

        async def written(server: Process = server) -> bool:
            here, there = spans(tmp_path, server), spans(tmp_path, worker)
            # The handler of this message, from what it sends back to the socket.
            chains = []
            for sent in there.values():
                handled = there.get(sent["parent_id"])
                posted = here.get(handled["parent_id"]) if handled else None
                received = here.get(posted["parent_id"]) if posted else None
                if handled and posted and received:
                    chains.append([received, posted, handled, sent])
            (chain,) = [chain for chain in chains if chain[3]["name"] == "broadcast hub"]
            assert [span["name"] for span in chain] == [
                "receive hub",
                "post chat-events",
                "handle chat-events",
                "broadcast hub",
            ]
            assert len({span["context"]["trace_id"] for span in chain}) == 1
            assert chain[0]["parent_id"] is None
            assert {span["attributes"]["django_hub.hub"] for span in chain} == {"room"}
            return True

        await eventually(written)
    assert site.complaints() == []
