"""A broadcast for some: told by a worker, and each server finds those of its own clients it is for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.live.chat import RoomClient
from tests.live.site import PATIENCE, Start, said

PEOPLE: dict[str, dict[str, Any]] = {
    "ann": {"team": "red", "level": 1},
    "bo": {"team": "red", "level": True},
    "cy": {"team": "blue", "level": 1.0, "at": ["Zürich", {"x": 2}]},
    "dee": {"team": "blue"},
    "ernest": {},
    "fay": {"team": None, "level": "1"},
}

# How a broadcast is told, and whom it is for.
WAYS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, set(PEOPLE)),
    ({"where": {"team": "red"}}, {"ann", "bo"}),
    ({"where": {"level": 1}}, {"ann", "cy"}),
    ({"only": ["bo", "cy", "nobody"]}, {"bo", "cy"}),
    ({"exclude": ["ann", "nobody"]}, set(PEOPLE) - {"ann"}),
    ({"longer": 3}, {"ernest"}),
    ({"where": {"at": ["Zürich", {"x": 2.0}]}}, {"cy"}),
    ({"where": {"team": None}}, {"fay"}),
    ({"where": {"team": "blue"}, "exclude": ["dee"]}, {"cy"}),
    ({"where": {"team": "blue"}, "only": ["dee", "ann"]}, {"dee"}),
    ({"longer": 2, "only": ["ann", "bo", "cy"], "exclude": ["fay"]}, {"ann"}),
    ({"only": []}, set()),
    ({"where": {"nothing": 1}}, set()),
]
ROUNDS = 20


@pytest.mark.heavy
@pytest.mark.parametrize("layer", ["core", "pubsub"])
async def test_each_hears_exactly_what_is_for_it_in_order(start: Start, layer: str) -> None:
    site = await start(layer=layer)
    clients = {
        name: await site.enter(site.servers[number % 2], "room", name, RoomClient, meta=meta)
        for number, (name, meta) in enumerate(PEOPLE.items())
    }
    speakers = ["ann", "dee"]
    told = [WAYS[number % len(WAYS)] for number in range(ROUNDS * len(WAYS))]
    expected = {
        name: [number for number, (_, meant) in enumerate(told) if name in meant] for name in clients
    }
    hearing = {
        name: asyncio.create_task(said(client, len(speakers) * len(expected[name])))
        for name, client in clients.items()
    }
    for number, (how, _) in enumerate(told):
        for speaker in speakers:
            broadcasts = [{"text": f"{speaker} {number}", **how}]
            await clients[speaker].send({"type": "tell", "broadcasts": broadcasts})
    async with asyncio.timeout(PATIENCE):
        heard = {name: await task for name, task in hearing.items()}
    for name, texts in heard.items():
        for speaker in speakers:
            own = [text for text in texts if text.startswith(f"{speaker} ")]
            assert own == [f"{speaker} {number}" for number in expected[name]], name
    for texts in heard.values():
        for others in heard.values():
            both = set(texts) & set(others)
            assert [text for text in texts if text in both] == [text for text in others if text in both]
    # Nothing else is under way to anybody: the next word is the last one.
    await clients["ann"].send({"type": "tell", "broadcasts": [{"text": "last"}]})
    for client in clients.values():
        assert await said(client, 1) == ["last"], client.name
    assert site.complaints() == []
