"""The hub_* functions: what each promises, and bad input that nobody but its caller notices."""

import asyncio
import datetime
import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_hub.additions import hub_add, hub_post, hub_remove
from django_hub.api import (
    current_hub,
    current_hubs,
    hub_broadcast,
    hub_create,
    hub_destroy,
    hub_member,
    hub_members,
    hub_send,
)
from django_hub.consumers import HubConsumer
from django_hub.events import Event, Joined, Left, Message
from django_hub.exceptions import InvalidBound, InvalidMessage, InvalidName
from django_hub.filters import Where
from django_hub.hubs import Hub
from django_hub.members import Member
from django_hub.messages import Close, Json
from tests.apps import EVENTS, World
from tests.apps import world as world
from tests.sockets import until

BAD_NAMES = ["", "x" * 201, "nul\0", "half \ud800", None, 5, b"bytes"]
BAD_NAME_IDS = ["empty", "201 characters", "NUL", "surrogate", "None", "int", "bytes"]
GOOD_NAMES = ["x", "x" * 200, "Zürich 東京 🦊", "with space", "a/b\nc", "-._"]


class Socketlike:
    """In no hub."""


async def listed(names: Any) -> list[Any]:
    return [each async for each in names]


# Hubs


async def test_a_created_hub_stays_without_clients(world: World) -> None:
    hub = await hub_create("lobby")
    assert hub == Hub("lobby", "hub-events")
    assert await current_hub("lobby") == hub
    assert await hub_destroy(hub) is True
    assert await current_hub("lobby") is None


async def test_a_hub_may_have_a_history_of_its_own(world: World) -> None:
    await hub_create("lobby", history_size=0, history_ttl=2)
    record = await world.store.hub("lobby")
    assert record is not None
    assert (record.history_size, record.history_ttl) == (0, 2)
    await hub_destroy("lobby")


@pytest.mark.parametrize(
    "options",
    [
        {"history_size": -1},
        {"history_size": True},
        {"history_size": 1.5},
        {"history_size": 10**30},
        {"history_ttl": 1e300},
        {"history_ttl": -0.5},
        {"history_ttl": float("inf")},
        {"history_ttl": float("nan")},
        {"history_ttl": "300"},
    ],
)
async def test_a_history_that_can_be_none_is_refused(world: World, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidBound, match=r"from 0 to 2147483647; got "):
        await hub_create("lobby", **options)


async def test_created_again_it_updates_what_is_given(world: World) -> None:
    await hub_create("lobby", events="chat-events")
    assert await hub_create("lobby") == Hub("lobby", "chat-events")
    assert await hub_create("lobby", events="other") == Hub("lobby", "other")
    await hub_destroy("lobby")


async def test_a_hub_needs_no_creating_and_vanishes_with_its_last_client_and_event(world: World) -> None:
    ann = await world.join("ann")
    assert await current_hub("lobby") == Hub("lobby", EVENTS)
    await ann.leave()
    await world.settled()
    assert await current_hub("lobby") is None


async def test_destroying_closes_the_sockets(world: World) -> None:
    await hub_create("lobby", events=EVENTS)
    ann, bob = await world.join("ann"), await world.join("bob")
    assert await hub_destroy("lobby") is True
    assert [await ann.close_code(), await bob.close_code()] == [4410, 4410]
    await ann.ended()
    await bob.ended()
    await world.settled()
    assert await current_hub("lobby") is None
    assert await hub_destroy("lobby") is False


async def test_all_hubs_in_the_order_of_their_names(world: World) -> None:
    assert await listed(current_hubs()) == []
    for name in ("b", "c", "a"):
        await hub_create(name)
    assert [hub.name for hub in await listed(current_hubs())] == ["a", "b", "c"]
    for name in "abc":
        await hub_destroy(name)


async def test_more_hubs_than_a_page(world: World) -> None:
    names = [f"{number:04}" for number in range(1001)]
    for name in names:
        await hub_create(name)
    assert [hub.name async for hub in current_hubs()] == names
    for name in names:
        await hub_destroy(name)


# Members


async def test_members(world: World) -> None:
    await world.join("bob", meta={"born": datetime.date(2000, 1, 2)})
    await world.join("ann")
    await world.join("ann", hub="elsewhere")
    bob = await hub_member("lobby", "bob")
    assert isinstance(bob, Member)
    assert (bob.hub, bob.client_id, bob.user_id, bob.meta) == ("lobby", "bob", None, {"born": "2000-01-02"})
    assert await hub_member(Hub("lobby"), "nobody") is None
    assert await hub_member("nowhere", "bob") is None
    assert [member.client_id async for member in hub_members("lobby")] == ["ann", "bob"]
    everybody = [(member.hub, member.client_id) async for member in hub_members()]
    assert everybody == [("elsewhere", "ann"), ("lobby", "ann"), ("lobby", "bob")]
    assert await listed(hub_members("nowhere")) == []


# Names


@pytest.mark.parametrize("name", BAD_NAMES, ids=BAD_NAME_IDS)
@pytest.mark.parametrize(
    "call",
    [
        lambda name: hub_create(name),
        lambda name: hub_destroy(name),
        lambda name: current_hub(name),
        lambda name: hub_member(name, "ann"),
        lambda name: hub_member("lobby", name),
        lambda name: hub_send(name, "x"),
        lambda name: hub_broadcast(name, "x"),
        lambda name: hub_broadcast("lobby", "x", only=[name]),
        lambda name: hub_broadcast("lobby", "x", exclude=[name]),
        lambda name: hub_post(name, Socketlike(), "x"),
        lambda name: hub_remove(name, Socketlike()),
    ],
    ids=[
        "create",
        "destroy",
        "current",
        "member of",
        "member",
        "send",
        "broadcast",
        "only",
        "exclude",
        "post",
        "remove",
    ],
)
async def test_a_bad_name_is_refused(world: World, call: Any, name: Any) -> None:
    with pytest.raises(InvalidName):
        await call(name)


@pytest.mark.parametrize("name", GOOD_NAMES)
async def test_any_text_is_a_name(world: World, name: str) -> None:
    """As hub and as client id, all the way round."""
    client = await world.join(name, hub=name)
    await hub_broadcast(name, "to all")
    assert await hub_send(name, "to one", hub=name) is True
    assert await client.receive_all(2) == ["to all", "to one"]
    assert [(each.hub, each.client_id) async for each in hub_members(name)] == [(name, name)]
    assert [hub.name async for hub in current_hubs()] == [name]


@pytest.mark.parametrize(
    "name", [name for name in BAD_NAMES if name is not None], ids=[i for i in BAD_NAME_IDS if i != "None"]
)
async def test_members_of_a_bad_name(world: World, name: Any) -> None:
    with pytest.raises(InvalidName):
        await listed(hub_members(name))


# Messages

SENT = [
    ("text", "text"),
    ("", ""),
    ("grüße 🦊", "grüße 🦊"),
    (b"bytes\0", b"bytes\0"),
    (bytearray(b"ba"), b"ba"),
    ({"a": [1, None, True]}, '{"a":[1,null,true]}'),
    ({"at": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)}, '{"at":"2026-01-02T03:04:00Z"}'),
    ({}, "{}"),
    (Json([1, "two"]), '[1,"two"]'),
    (Json(None), "null"),
]


@pytest.mark.parametrize(("message", "frame"), SENT, ids=[repr(message)[:30] for message, _ in SENT])
async def test_what_can_be_sent(world: World, message: Any, frame: Any) -> None:
    ann = await world.join("ann")
    await hub_broadcast("lobby", message)
    await hub_send("ann", message)
    assert await ann.receive_all(2) == [frame, frame]


BAD_MESSAGES: list[Any] = [
    None,
    5,
    1.5,
    True,
    {1, 2},
    ("a", "b"),
    slice(1),
    {1: "int key"},
    {"deep": [{2: "int key"}]},
    {"set": {1}},
    {"nan": float("nan")},
    {"half": "\ud800"},
    "half \ud800",
    Json({1}),
    Json({None: 1}),
    Close(999),
    Close(1006),
    Close(5000),
    Close("1000"),  # type: ignore[arg-type]
    Close(4000, "x" * 124),
]


@pytest.mark.parametrize("message", BAD_MESSAGES, ids=repr)
async def test_what_can_not_be_sent_is_the_callers_error_and_nobody_elses(
    world: World, message: Any
) -> None:
    ann = await world.join("ann")
    for call in (
        hub_broadcast("lobby", message),
        hub_broadcast("lobby", message, lambda member: True),
        hub_broadcast("lobby", message, Where(team="red")),
        hub_broadcast("lobby", message, only=[]),
        hub_send("ann", message),
        hub_send("ann", ["good", message], hub="lobby"),
    ):
        with pytest.raises(TypeError):
            await call
    await hub_broadcast("lobby", "next")
    assert await ann.receive() == "next"


async def test_a_nesting_without_end(world: World) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    with pytest.raises(InvalidMessage):
        await hub_broadcast("lobby", endless)


async def test_what_is_too_large_is_sent_to_nobody(world: World) -> None:
    ann = await world.join("ann")
    too_large = bytes(16 * 1024 * 1024 + 1)
    for call in (hub_broadcast("lobby", too_large), hub_send("ann", ["first", too_large])):
        with pytest.raises(InvalidMessage, match="at most 16,777,216 bytes"):
            await call
    await hub_broadcast("lobby", "next")
    assert await ann.receive() == "next"


async def test_a_list_is_no_broadcast(world: World) -> None:
    with pytest.raises(InvalidMessage, match=r"Wrap it as Json\(\[...\]\)"):
        await hub_broadcast("lobby", ["a", "b"])  # type: ignore[arg-type]


async def test_an_encoder_of_ones_own(world: World, settings: Any) -> None:
    settings.DJANGO_HUB = {"JSON_ENCODER": "tests.test_api.SetEncoder"}
    ann = await world.join("ann")
    await hub_broadcast("lobby", {"set": {2, 1}})
    assert await ann.receive() == '{"set":[1,2]}'


class SetEncoder(json.JSONEncoder):
    def default(self, value: Any) -> Any:
        return sorted(value) if isinstance(value, set) else super().default(value)


# hub_send


async def test_send_reaches_one(world: World) -> None:
    ann, bob = await world.join("ann"), await world.join("bob")
    assert await hub_send("ann", "for ann") is True
    await hub_broadcast("lobby", "for all")
    assert await ann.receive_all(2) == ["for ann", "for all"]
    assert await bob.receive() == "for all"


@pytest.mark.parametrize("hub", [None, "lobby", "nowhere", Hub("lobby")])
async def test_nobody_of_that_name_is_no_error(world: World, hub: Any) -> None:
    await world.join("ann")
    assert await hub_send("nobody", "x", hub=hub) is False


async def test_a_client_of_another_hub_is_not_in_this_one(world: World) -> None:
    await world.join("ann")
    assert await hub_send("ann", "x", hub="nowhere") is False


async def test_a_list_is_several_messages_in_order(world: World) -> None:
    ann = await world.join("ann")
    assert await hub_send("ann", ["1", b"2", {"n": 3}, Close(4001)]) is True
    assert await ann.receive_all(3) == ["1", b"2", '{"n":3}']
    assert await ann.close_code() == 4001


async def test_an_empty_list_is_no_message(world: World) -> None:
    ann = await world.join("ann")
    assert await hub_send("ann", []) is True
    assert await hub_send("ann", "next") is True
    assert await ann.receive() == "next"


async def test_without_a_hub_it_is_the_newest_connection(world: World) -> None:
    old = await world.join("ann", hub="one")
    new = await world.join("ann", hub="two")
    await hub_send("ann", "newest")
    await hub_send("ann", "in one", hub="one")
    assert await new.receive() == "newest"
    assert await old.receive() == "in one"


async def test_an_event_is_its_data(world: World) -> None:
    async def echo(event: Event) -> None:
        if isinstance(event, Message):
            await hub_send(event.client_id, event, hub=event.hub)
            await hub_broadcast(event.hub, event)

    world.desk.handler = echo
    ann = await world.join("ann")
    ann.send_nowait("text")
    ann.send_nowait(b"bytes")
    assert await ann.receive_all(4) == ["text", "text", b"bytes", b"bytes"]


@pytest.mark.parametrize("kind", [Joined, Left])
async def test_other_events_are_no_messages(world: World, kind: Any) -> None:
    more = {"reason": "close"} if kind is Left else {}
    event = kind(hub="lobby", client_id="ann", user_id=None, meta={}, id=1, at=0.0, **more)
    with pytest.raises(InvalidMessage):
        await hub_send("ann", event)


# hub_broadcast


async def test_to_a_hub_without_clients(world: World) -> None:
    await hub_broadcast("nowhere", "x")
    await hub_broadcast("nowhere", "x", lambda member: True)
    await hub_broadcast("nowhere", "x", Where(team="red"))
    await hub_broadcast("nowhere", "x", only=["ann"])
    await hub_broadcast("nowhere", "x", exclude=["ann"])


async def test_exclude_leaves_out(world: World) -> None:
    clients = {name: await world.join(name) for name in ("ann", "bob", "cy")}
    await hub_broadcast("lobby", "1", exclude=["ann", "nobody"])
    await hub_broadcast("lobby", "2", exclude={"bob"})
    await hub_broadcast("lobby", "3", exclude=())
    await world.settled()
    assert {name: client.received() for name, client in clients.items()} == {
        "ann": ["2", "3"],
        "bob": ["1", "3"],
        "cy": ["1", "2", "3"],
    }


async def test_only_chooses(world: World) -> None:
    clients = {name: await world.join(name) for name in ("ann", "bob", "cy")}
    await hub_broadcast("lobby", "1", only=["ann", "nobody", "ann"])
    await hub_broadcast("lobby", "2", only={"bob", "cy"})
    await hub_broadcast("lobby", "3", only=[])
    await hub_broadcast("lobby", "4", only=None)
    await world.settled()
    assert {name: client.received() for name, client in clients.items()} == {
        "ann": ["1", "4"],
        "bob": ["2", "4"],
        "cy": ["2", "4"],
    }


@pytest.mark.parametrize("argument", ["only", "exclude"])
@pytest.mark.parametrize("ids", ["ann", b"ann", ""], ids=["str", "bytes", "empty str"])
async def test_client_ids_are_no_text(world: World, argument: str, ids: Any) -> None:
    with pytest.raises(TypeError, match=rf"Write {argument}=\[client_id\]"):
        await hub_broadcast("lobby", "x", **{argument: ids})


PEOPLE: dict[str, dict[str, Any]] = {
    "ann": {"team": "red", "level": 1},
    "bob": {"team": "blue", "level": 1},
    "cy": {"team": "red", "level": True},
    "dee": {},
    "eve": {"team": None},
}


async def heard(world: World, *broadcasts: dict[str, Any]) -> list[str]:
    """For each of the broadcasts, which are sent one by one, who got it: the first letters."""
    clients = {name: await world.join(name, meta=meta) for name, meta in PEOPLE.items()}
    for number, arguments in enumerate(broadcasts):
        await hub_broadcast("lobby", str(number), **arguments)
    await world.settled()
    received = {name: client.received() for name, client in clients.items()}
    assert all(texts == sorted(texts, key=int) for texts in received.values())
    return [
        "".join(name[0] for name, texts in received.items() for _ in range(texts.count(str(number))))
        for number in range(len(broadcasts))
    ]


async def test_a_where_chooses(world: World) -> None:
    wheres = [
        Where(team="red"),
        Where(level=1),
        Where(team="red", level=1.0),
        Where(team=None),
        Where(nothing=1),
    ]
    assert await heard(world, *({"condition": where} for where in wheres)) == ["ac", "ab", "a", "e", ""]


async def test_all_that_chooses_together(world: World) -> None:
    red = Where(team="red")
    broadcasts: list[tuple[dict[str, Any], str]] = [
        ({}, "abcde"),
        ({"condition": red, "exclude": ["ann"]}, "c"),
        ({"condition": red, "only": ["ann", "bob"]}, "a"),
        ({"condition": red, "only": ["ann", "bob", "cy"], "exclude": ["cy", "eve"]}, "a"),
        ({"only": ["ann", "bob"], "exclude": ["bob"]}, "a"),
        ({"only": ["ann"], "exclude": ["ann"]}, ""),
        ({"condition": red, "only": []}, ""),
        ({"condition": lambda member: "team" in member.meta, "only": ["ann", "dee", "eve"]}, "ae"),
        ({"condition": lambda member: "team" in member.meta, "exclude": ["ann"]}, "bce"),
        (
            {"condition": lambda member: True, "only": ["ann", "bob", "cy"], "exclude": ["bob", "eve"]},
            "ac",
        ),
    ]
    assert await heard(world, *(arguments for arguments, _ in broadcasts)) == [who for _, who in broadcasts]


async def test_a_where_goes_through_the_encoder_of_the_settings_as_meta_does(world: World) -> None:
    born = datetime.date(2000, 1, 2)
    ann = await world.join("ann", meta={"born": born, "point": (1, 2)})
    await hub_broadcast("lobby", "1", Where(born=born, point=(1, 2)))
    await hub_broadcast("lobby", "2", Where(born="2000-01-03"))
    await hub_broadcast("lobby", "3", Where(born="2000-01-02", point=[1.0, 2]))
    await world.settled()
    assert ann.received() == ["1", "3"]


async def test_a_where_of_what_is_no_json_sends_nothing(world: World) -> None:
    ann = await world.join("ann")
    with pytest.raises(InvalidMessage, match="can't be sent as JSON"):
        await hub_broadcast("lobby", "x", Where(tags={"a"}))
    await hub_broadcast("lobby", "next")
    assert await ann.receive() == "next"


@pytest.mark.parametrize("argument", ["only", "exclude"])
@pytest.mark.parametrize("ids", ["ann", b"ann", 5], ids=repr)
async def test_ids_that_are_no_collection_are_refused(world: World, argument: str, ids: Any) -> None:
    with pytest.raises(TypeError, match=f"{argument} takes a collection of client ids; got"):
        await hub_broadcast("lobby", "x", **{argument: ids})


@pytest.mark.parametrize("condition", [{"team": "red"}, "red", True, ["ann"], Where], ids=repr)
async def test_what_is_no_condition_is_refused(world: World, condition: Any) -> None:
    """Also in a hub without members, where nobody would have asked it."""
    with pytest.raises(TypeError, match=r"a plain function of a member, or Where\(key=value\); got"):
        await hub_broadcast("lobby", "x", condition)


async def test_only_a_function_looks_at_the_members(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub of 100,000 costs no list of them, neither in the store nor on the wire."""
    ann = await world.join("ann", meta={"team": "red"})
    looks: list[str] = []
    members = type(world.store).members

    async def look(store: Any, *args: Any) -> Any:
        looks.append("members")
        return await members(store, *args)

    monkeypatch.setattr(type(world.store), "members", look)
    await hub_broadcast("lobby", "1", Where(team="red"), only=["ann"], exclude=["bob"])
    await hub_broadcast("lobby", "2", Where(team="red"), exclude=["bob"])
    await hub_broadcast("lobby", "3", lambda member: True, only=[])
    assert looks == []
    await hub_broadcast("lobby", "4", lambda member: True)
    assert looks == ["members"]
    assert await ann.receive_all(3) == ["1", "2", "4"]


async def test_a_condition_chooses(world: World) -> None:
    clients = {name: await world.join(name, meta={"age": len(name)}) for name in ("ann", "robert", "cy")}
    asked: list[str] = []

    def grown_up(member: Member) -> bool:
        asked.append(member.client_id)
        return member.meta["age"] > 2

    await hub_broadcast("lobby", "1", grown_up)
    await hub_broadcast("lobby", "2", grown_up, exclude=["robert"])
    await hub_broadcast("lobby", "3", lambda member: False)
    await world.settled()
    assert {name: client.received() for name, client in clients.items()} == {
        "ann": ["1", "2"],
        "robert": ["1"],
        "cy": [],
    }
    assert asked == ["ann", "cy", "robert", "ann", "cy"]


async def test_a_condition_that_raises_sends_nothing(world: World) -> None:
    ann = await world.join("ann")
    await world.join("bob")

    def only_ann(member: Member) -> bool:
        return {"ann": True}[member.client_id]

    with pytest.raises(KeyError):
        await hub_broadcast("lobby", "x", only_ann)
    await hub_broadcast("lobby", "next")
    assert await ann.receive() == "next"


async def test_a_condition_that_must_be_awaited_is_refused(world: World) -> None:
    ann = await world.join("ann")

    async def later(member: Member) -> bool:
        return True

    def future(member: Member) -> Any:
        return asyncio.get_running_loop().create_future()

    for condition in (later, future):
        with pytest.raises(TypeError, match="must be a plain function"):
            await hub_broadcast("lobby", "x", condition)
    await hub_broadcast("lobby", "next")
    assert await ann.receive() == "next"


async def test_what_is_for_nobody_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.join("ann")
    sent: list[Any] = []
    monkeypatch.setattr(world.relay.sender, "broadcast", sent.append)
    await hub_broadcast("lobby", "x", only=[])
    await hub_broadcast("lobby", "x", Where(team="red"), only=["ann"], exclude=["ann"])
    await hub_broadcast("lobby", "x", lambda member: False)
    assert sent == []


# Order


async def test_one_callers_sends_and_broadcasts_arrive_in_the_order_of_the_calls(world: World) -> None:
    ann, bob = await world.join("ann"), await world.join("bob")
    for number in range(200):
        if number % 3:
            await hub_broadcast("lobby", str(number))
        else:
            await hub_send("ann", str(number))
    await world.settled()
    assert ann.received() == [str(number) for number in range(200)]
    assert bob.received() == [str(number) for number in range(200) if number % 3]


async def test_all_members_see_broadcasts_in_the_same_order_under_many_senders(world: World) -> None:
    clients = [await world.join(str(number)) for number in range(8)]

    async def send(sender: int) -> None:
        for number in range(25):
            await hub_broadcast("lobby", f"{sender} {number}")
            await hub_send(str(number % 8), f"{sender} {number} alone", hub="lobby")
            await hub_broadcast("lobby", f"{sender} {number} some", lambda member: True)

    await asyncio.gather(*(send(sender) for sender in range(10)))
    await world.settled()
    received = [client.received() for client in clients]
    broadcasts = [[text for text in texts if not text.endswith("alone")] for texts in received]
    assert len(broadcasts[0]) == 10 * 25 * 2
    assert all(each == broadcasts[0] for each in broadcasts)
    for client, texts in enumerate(received):
        for sender in range(10):
            heard = [text for text in texts if text.startswith(f"{sender} ")]
            assert heard == [
                text
                for number in range(25)
                for text in (
                    f"{sender} {number}",
                    *([f"{sender} {number} alone"] if number % 8 == client else []),
                    f"{sender} {number} some",
                )
            ]


async def test_each_client_gets_what_is_for_it_in_the_order_of_the_calls(world: World) -> None:
    """Whether it was meant by name, by its meta, by a function, or with all."""
    teams = {"ann": "red", "bob": "red", "cy": "blue"}
    clients = {name: await world.join(name, meta={"team": team}) for name, team in teams.items()}
    ways: list[tuple[dict[str, Any], set[str]]] = [
        ({}, {"ann", "bob", "cy"}),
        ({"condition": Where(team="red")}, {"ann", "bob"}),
        ({"only": ["cy", "bob"]}, {"bob", "cy"}),
        ({"condition": lambda member: member.client_id != "bob"}, {"ann", "cy"}),
        ({"condition": Where(team="red"), "exclude": ["ann"]}, {"bob"}),
    ]
    for number in range(100):
        await hub_broadcast("lobby", str(number), **ways[number % 5][0])
    # Those that look at no members keep it also when nobody waits for them.
    still = [0, 1, 2, 4]
    await asyncio.gather(
        *(hub_broadcast("lobby", str(number), **ways[still[number % 4]][0]) for number in range(100, 200))
    )
    await world.settled()
    for name, client in clients.items():
        assert client.received() == [
            str(number)
            for number in range(200)
            if name in ways[number % 5 if number < 100 else still[number % 4]][1]
        ]


async def test_calls_that_are_under_way_together_keep_their_order(world: World) -> None:
    ann = await world.join("ann")
    await asyncio.gather(
        *(
            hub_broadcast("lobby", str(number)) if number % 3 else hub_send("ann", str(number))
            for number in range(60)
        )
    )
    await world.settled()
    broadcasts = [text for text in ann.received() if int(text) % 3]
    assert broadcasts == [str(number) for number in range(60) if number % 3]


async def test_a_burst_larger_than_the_layers_capacity_arrives_whole(world: World) -> None:
    ann = await world.join("ann")
    texts = [f"{number} " + "x" * 20_000 for number in range(300)]
    await asyncio.gather(*(hub_broadcast("lobby", text) for text in texts))
    await world.settled()
    assert ann.received() == texts


# Settings


async def test_without_channel_layers_the_error_shows_what_to_write(settings: Any) -> None:
    layers: Mapping[str, Any] = settings.CHANNEL_LAYERS
    settings.CHANNEL_LAYERS = {}
    with pytest.raises(ImproperlyConfigured, match="CHANNEL_LAYERS has none") as caught:
        await hub_broadcast("lobby", "x")
    assert '"BACKEND": "channels.layers.InMemoryChannelLayer"' in str(caught.value)
    settings.CHANNEL_LAYERS = layers


async def test_an_unknown_key_in_the_settings_is_named(settings: Any) -> None:
    settings.DJANGO_HUB = {"BAET": 5}
    with pytest.raises(ImproperlyConfigured, match="unknown keys: BAET"):
        await hub_broadcast("lobby", "x")
    settings.DJANGO_HUB = {}


async def test_what_is_no_consumer_is_refused_with_what_is_one(world: World) -> None:
    for call in (hub_post("lobby", Socketlike(), "x"), hub_remove("lobby", Socketlike())):
        with pytest.raises(TypeError, match=r"Expected a Channels websocket consumer, .* got Socketlike"):
            await call


@pytest.mark.parametrize("channel", ["", "a b", "é", "x" * 100, 5, "a!b"])
async def test_a_channel_nobody_can_listen_on_is_refused(world: World, channel: Any) -> None:
    with pytest.raises(InvalidName, match="An events channel is named with"):
        await hub_create("lobby", events=channel)
    with pytest.raises(InvalidName, match="An events channel is named with"):
        await hub_add("lobby", Socketlike(), "ann", events=channel)
    with pytest.raises(InvalidName, match="An events channel is named with"):
        type("Room", (HubConsumer,), {"events": channel})


async def test_a_post_is_str_or_bytes(world: World) -> None:
    with pytest.raises(InvalidMessage, match="str or bytes, as received; got dict"):
        await hub_post("lobby", object(), {})  # type: ignore[arg-type]


async def test_kicking_with_a_code(world: World) -> None:
    ann = await world.join("ann")
    await hub_send("ann", ["bye", Close(4001, "out")])
    assert await ann.receive() == "bye"
    assert await ann.close_code() == 4001
    await until(lambda: world.told()[-1:] == [("left", "ann", "close")])


async def test_what_is_droppable_has_no_number_and_is_not_kept(world: World) -> None:
    ann = await world.join("ann")
    await hub_broadcast("lobby", "1")
    await hub_broadcast("lobby", "2", droppable=True)
    await hub_broadcast("lobby", "3")
    assert [await ann.receive() for _ in range(3)] == ["1", "2", "3"]
    assert [json.loads(item) for _, item in (await world.store.history("lobby", 0)).items] == [["1"], ["3"]]
    await ann.leave()
    await world.settled()
