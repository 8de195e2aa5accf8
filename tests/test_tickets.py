"""Tickets: for one hub, one user, once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from django_hub import tickets
from django_hub.exceptions import InvalidBound, Refused, Unavailable
from django_hub.stores.memory import MemoryStore
from django_hub.tickets import choose, hub_ticket, offered, redeem

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def anna() -> Any:
    return User.objects.create_user("anna", password="secret")


async def refusal(ticket: str, hub: str = "lobby", store: Any = None) -> Refused:
    with pytest.raises(Refused) as refused:
        await redeem(ticket, hub, store or MemoryStore())
    return refused.value


async def test_a_ticket_is_good_once_and_brings_its_user(anna: User) -> None:
    store, ticket = MemoryStore(), hub_ticket(anna, "lobby")
    assert await redeem(ticket, "lobby", store) == anna
    again = await refusal(ticket, store=store)
    assert (again.code, again.reason, again.reconnect) == (4401, "the ticket was used before", False)


def test_it_can_stand_in_a_handshake(anna: User) -> None:
    # RFC 7230's token, which a subprotocol is.
    assert re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", hub_ticket(anna, "a hub / ümlaut"))


def test_who_is_not_in_the_database_gets_none() -> None:
    with pytest.raises(TypeError, match="for a user who is logged in, and in the database; got <User: >"):
        hub_ticket(User(), "lobby")


async def test_it_is_another_hubs_or_none(anna: User) -> None:
    assert (await refusal(hub_ticket(anna, "garden"))).reason == "the ticket is another hub's"
    good = hub_ticket(anna, "lobby")
    for wrong in ("", "x", good[:-1], "x" + good, good.replace(".", ".x"), "é"):
        assert (await refusal(wrong)).reason == "the ticket is not valid"


async def test_what_is_signed_for_something_else_is_none(anna: User) -> None:
    from django.core import signing

    other = signing.Signer(salt="other", sep=".").sign_object(["1", "lobby", "n", 9e9, "x"])
    assert (await refusal(other)).reason == "the ticket is not valid"
    odd = signing.Signer(salt=tickets._SALT, sep=".").sign_object({"of": "another version"})
    assert (await refusal(odd)).reason == "the ticket is not valid"


async def test_it_expires(anna: User, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = hub_ticket(anna, "lobby", max_age=30)
    now = tickets.time.time()
    monkeypatch.setattr(tickets.time, "time", lambda: now + 31)
    assert (await refusal(ticket)).reason == "the ticket has expired"


@pytest.mark.parametrize("change", ["password", "is_active", "gone"])
async def test_it_ends_with_what_it_was_given_for(anna: User, change: str) -> None:
    ticket = hub_ticket(anna, "lobby")
    if change == "password":
        anna.set_password("other")
        await anna.asave()
    elif change == "is_active":
        anna.is_active = False
        await anna.asave()
    else:
        await anna.adelete()
    assert (await refusal(ticket)).reason == "the ticket is no longer valid"


async def test_where_it_can_not_be_spent_another_one_is_wanted(anna: User) -> None:
    class Away(MemoryStore):
        async def spend(self, *_: Any) -> bool:
            raise Unavailable("gone")

    refused = await refusal(hub_ticket(anna, "lobby"), store=Away())
    assert (refused.code, refused.reconnect) == (1013, None)


def test_it_is_made_for_users_who_are_logged_in(anna: User) -> None:
    for nobody in (AnonymousUser(), None, "anna"):
        with pytest.raises(TypeError, match="logged in"):
            hub_ticket(nobody, "lobby")
    for age in (0, -1, "60", True, float("nan"), 1e9):
        with pytest.raises(InvalidBound, match="max_age"):
            hub_ticket(anna, "lobby", age)  # type: ignore[arg-type]


def test_what_is_offered_and_what_is_chosen() -> None:
    assert offered(["hub.v1", "hub.ticket.abc"]) == "abc"
    assert offered(["hub.v1"]) is None
    assert choose([], "hub.v1") is None
    assert choose(["hub.ticket.abc", "hub.v1"], "hub.v1") == "hub.v1"
    assert choose(["hub.ticket.abc"], "hub.v1") == "hub.ticket.abc"
    assert choose(["hub.ticket.abc", "mqtt"], "hub.v1") == ""
