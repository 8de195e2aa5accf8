"""What a person sees of hubs: pages, rates, events in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from django_hub import sights
from django_hub.events import describe, joined_body, left_body, lost_body, message_body, updated_body
from django_hub.exceptions import InvalidName
from django_hub.sights import SHOWN, Sight, Viewer, told
from django_hub.stores.memory import MemoryStore
from django_hub.stores.ops import Lose
from django_hub.stores.survey import TAIL_CHARACTERS, HubSurvey
from tests.stores.contract import join, post

HOME = {"hub": "", "search": "", "after": "", "by_name": False}
WHO = describe("ann", None, {})


class Relays:
    """Answers as relays do; ``said`` by process of clients, and None is silent."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {}
        self.asked: list[dict[str, list[Any]]] = []
        self.messages = 0

    async def ask(self, questions: Mapping[str, list[Any]]) -> dict[str, Any]:
        self.asked.append(dict(questions))
        return {p: answer for p, q in questions.items() if (answer := self.answer(p, q)) is not None}

    def answer(self, process: str, question: list[Any]) -> Any:
        if question[0] == "hubs":
            largest = ["h999"] if question[2] else []
            return {"messages": self.messages, "of": [self.messages] * len(question[1]), "largest": largest}
        if process in self.said:
            return self.said[process]
        return [[f"at {process}", 1, 20, 0] for _ in question[2]]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def relays() -> Relays:
    return Relays()


@pytest.fixture
def viewer(store: MemoryStore, relays: Relays) -> Viewer:
    return Viewer(store, relays)  # type: ignore[arg-type]


def flat(found: list[list[str]]) -> list[str]:
    return [name for page in found for name in page]


async def pages(viewer: Viewer, what: str, key: str, **sight: Any) -> list[list[str]]:
    """The names on each page, as one gets them who always takes the next."""
    found = []
    after = ""
    while True:
        picture = await viewer.see(Sight(after=after, **sight))
        found.append([row[key] for row in picture[what]])
        after = picture["next"]
        if not after:
            return found


async def test_the_busiest_have_no_next_page_but_say_how_many_more(
    store: MemoryStore, viewer: Viewer
) -> None:
    await store.apply([join(f"h{number:03}") for number in range(SHOWN + 7)])
    await store.apply([join("z", f"c{number}") for number in range(3)])
    picture = await viewer.see(Sight())
    assert picture["hubs"][0]["name"] == "z"
    assert (len(picture["hubs"]), picture["next"], picture["rest"]) == (SHOWN, "", 8)


async def test_all_by_name_are_each_seen_once(store: MemoryStore, viewer: Viewer) -> None:
    names = [f"h{number:03}" for number in range(2 * SHOWN + 1)]
    await store.apply([join(name) for name in reversed(names)])
    found = await pages(viewer, "hubs", "name", by_name=True)
    assert flat(found) == names
    assert [len(page) for page in found] == [SHOWN, SHOWN, 1]


@pytest.mark.parametrize("count", [SHOWN - 1, SHOWN])
async def test_a_last_page_that_is_just_full_has_no_next(
    store: MemoryStore, viewer: Viewer, count: int
) -> None:
    await store.apply([join(f"h{number:03}") for number in range(count)])
    assert len(await pages(viewer, "hubs", "name", by_name=True)) == 1
    picture = await viewer.see(Sight())
    assert (len(picture["hubs"]), picture["rest"]) == (count, 0)


async def test_paging_within_a_search(store: MemoryStore, viewer: Viewer) -> None:
    """The one of just that name is first, and counts."""
    names = ["gar", *(f"gar{number:03}" for number in range(SHOWN + 2))]
    await store.apply([join(name) for name in ["a", *names, "gas", "z"]])
    found = await pages(viewer, "hubs", "name", search="gar")
    assert flat(found) == names
    assert [len(page) for page in found] == [SHOWN, 3]
    assert (await viewer.see(Sight(search="nothing")))["hubs"] == []


async def test_members_are_paged_too(store: MemoryStore, viewer: Viewer) -> None:
    names = ["ann", *(f"ann{number:03}" for number in range(SHOWN))]
    await store.apply([join(client=name) for name in ["al", *names, "bob"]])
    everybody = await pages(viewer, "members", "client", hub="lobby")
    assert flat(everybody) == ["al", *names, "bob"]
    found = await pages(viewer, "members", "client", hub="lobby", search="ann")
    assert (flat(found), len(found)) == (names, 2)


async def test_a_page_is_not_the_last_because_it_is_short(
    store: MemoryStore, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Redis one is, where hubs in it are gone meanwhile."""
    names = [f"h{number:03}" for number in range(SHOWN + 5)]
    await store.apply([join(name) for name in names])
    whole = store.hubs
    monkeypatch.setattr(store, "hubs", lambda after, most: whole(after, min(most, 20)))
    found = await pages(viewer, "hubs", "name", by_name=True)
    assert flat(found) == names


async def test_members_have_what_their_server_says(
    store: MemoryStore, viewer: Viewer, relays: Relays
) -> None:
    await store.apply([join(), join(client="bob", process="p2"), join(client="eve", process="p3")])
    relays.said = {"p2": None, "p3": [None]}
    picture = await viewer.see(Sight(hub="lobby"))
    by_client = {member["client"]: (member["address"], member["queue"]) for member in picture["members"]}
    assert by_client == {"ann": ("at p1", 1), "bob": ("", None), "eve": ("", None)}
    assert json.loads(json.dumps(picture)) == picture


async def test_a_hub_that_is_not_there(viewer: Viewer) -> None:
    picture = await viewer.see(Sight(hub="nowhere"))
    assert (picture["members"], picture["state"]["there"], picture["dead"]) == ([], False, [])


async def test_a_hub_that_is_damaged(
    store: MemoryStore, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def survey(hubs: list[str]) -> list[HubSurvey]:
        return [HubSurvey(name=hub, error="not ours") for hub in hubs]

    await store.apply([join()])
    monkeypatch.setattr(store, "survey", survey)
    picture = await viewer.see(Sight(hub="lobby"))
    assert (picture["state"]["error"], picture["members"]) == ("not ours", [])
    (row,) = (await viewer.see(Sight()))["hubs"]
    assert row["error"] == "not ours"
    assert row.keys() == picture["state"].keys()


async def test_it_is_said_where_not_all_with_mail_are_looked_at(
    store: MemoryStore, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sights, "_BUSY", SHOWN + 1)
    await store.apply([join(f"h{number:03}") for number in range(SHOWN + 1)])
    assert (await viewer.see(Sight()))["of"] == 0
    await store.apply([join("h999")])
    assert (await viewer.see(Sight()))["of"] == SHOWN + 1
    assert (await viewer.see(Sight(by_name=True)))["of"] == 0


async def test_rates_are_of_what_came_between_two_looks(
    store: MemoryStore, viewer: Viewer, relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(sights.time, "monotonic", lambda: now)
    await store.apply([join(), post(number=1)])
    assert (await viewer.see(Sight()))["totals"]["rate"] == 0
    relays.messages, now = 30, now + 2
    picture = await viewer.see(Sight())
    assert (picture["totals"]["rate"], picture["hubs"][0]["in"]) == (15, 15)
    relays.messages, now = 3, now + 2
    assert (await viewer.see(Sight()))["totals"]["rate"] == 0


async def test_rates_are_the_same_for_all_who_look(
    store: MemoryStore, viewer: Viewer, relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of two looks a tenth of a second after the other, once a second."""
    now = 1000.0
    monkeypatch.setattr(sights.time, "monotonic", lambda: now)
    await store.apply([join()])
    rates = []
    for _ in range(3):
        for sight in (Sight(), Sight(search="l")):
            picture = await viewer.see(sight)
            rates.append((picture["totals"]["rate"], picture["hubs"][0]["in"]))
            relays.messages, now = relays.messages + 10, now + 0.1
        relays.messages, now = relays.messages + 80, now + 0.8
    assert rates == [(0, 0), (0, 0), *[(100, 100)] * 4]


async def test_what_rates_are_made_of_is_bounded(
    store: MemoryStore, viewer: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever pages through a large site fills no memory."""
    monkeypatch.setattr(sights, "_RELAYS", 1)
    names = [f"h{number:04}" for number in range(21 * SHOWN)]
    await store.apply([join(name) for name in names])
    assert flat(await pages(viewer, "hubs", "name", by_name=True)) == names
    assert len(viewer._counts) == 20 * SHOWN


async def test_a_lost_members_server_is_not_asked(
    store: MemoryStore, viewer: Viewer, relays: Relays
) -> None:
    ann = replace(join(), grace=60_000.0)
    lost = Lose(
        hub="lobby",
        client_id="ann",
        connection=ann.connection,
        process="p1",
        body=lost_body(ann.who, 1.0, "read"),
    )
    await store.apply([ann, lost])
    picture = await viewer.see(Sight(hub="lobby"))
    assert [member["state"] for member in picture["members"]] == ["lost"]
    assert [question[0] for asked in relays.asked for question in asked.values()] == ["hubs"]


async def test_the_largest_are_asked_for_now_and_then(
    store: MemoryStore, viewer: Viewer, relays: Relays, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(sights.time, "monotonic", lambda: now)
    await store.apply([join()])
    for step in (1, 1, 11):
        await viewer.see(Sight())
        now += step
    await viewer.see(Sight())
    assert [questions["p1"][2] for questions in relays.asked] == [True, False, False, True]


def test_a_sight_is_read() -> None:
    assert Sight.read(HOME) == Sight()
    assert Sight.read(HOME | {"hub": "lobby", "by_name": True}) == Sight("lobby", by_name=True)


@pytest.mark.parametrize("wrong", [None, [], {}, HOME | {"hub": 1}, HOME | {"by_name": 1}])
def test_what_is_no_sight_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        Sight.read(wrong)


def test_a_name_that_none_can_have_is_refused() -> None:
    with pytest.raises(InvalidName):
        Sight.read(HOME | {"search": "x" * 300})


def test_events_are_told_shortly() -> None:
    who = describe("ann", None, {})
    assert told("lobby", 1, joined_body(who, 1.0)) == {"kind": "joined", "client": "ann", "text": ""}
    assert told("lobby", 1, message_body(who, 1.0, "hi" * 900))["text"] == ("hi" * 900)[:500]
    assert told("lobby", 1, message_body(who, 1.0, b"123"))["text"] == "3 bytes"
    assert told("lobby", 1, left_body(who, 1.0, "kicked", 4403))["text"] == "kicked 4403"
    assert told("lobby", 1, left_body(who, 1.0, "lost", None))["text"] == "lost"
    assert told("lobby", 1, "rubbish") == {"kind": "?", "client": "", "text": "rubbish"}


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (message_body(WHO, 1.0, 'é"\\\n🐙' * 900), "message", ('é"\\\n🐙' * 900)[:500]),
        (message_body(WHO, 1.0, b"x" * 9000), "message", "bytes, too many to count"),
        (message_body(describe("ann", None, {"k": "x" * 9000}), 1.0, "hi"), "message", ""),
        (left_body(WHO, 1.0, "slow", 4008, None, ("x" * 9000,)), "left", "slow 4008"),
        (left_body(WHO, 1.0, "lost", None, None, ("x" * 9000,)), "left", "lost"),
        (updated_body(describe("ann", None, {"k": "x" * 9000}), 1.0), "updated", ""),
    ],
)
def test_a_long_event_is_told_by_its_beginning(body: str, kind: str, text: str) -> None:
    assert told("lobby", 1, body[:TAIL_CHARACTERS]) == {"kind": kind, "client": "ann", "text": text}
