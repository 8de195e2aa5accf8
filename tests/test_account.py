"""The account: what is accepted and not handled, and what of it a store lost."""

import pytest

from django_hub import account as module
from django_hub.accepted import Accepted
from django_hub.account import Account
from django_hub.exceptions import Unavailable
from tests.apps import FaultyStore


async def account_of(store: FaultyStore, *hubs: str) -> tuple[Account, Accepted]:
    accepted = Accepted()
    account = Account(store, accepted, ("ann", "bob"))
    await account.begin()
    for hub in hubs:
        accepted.add(hub)
    return account, accepted


async def test_what_is_handled_is_forgotten_page_by_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    store = FaultyStore()
    account, accepted = await account_of(store, *"abcde")
    await account.look()
    assert accepted.now() == {}
    assert store.calls.count("waiting_in") == 3
    await account.look()
    assert store.calls.count("waiting_in") == 3


async def test_only_what_was_accepted_before_the_store_was_away_can_be_lost(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = FaultyStore()
    account, accepted = await account_of(store, "a", "a")
    account.suspect()
    accepted.add("b")
    account.suspect()
    store.fail["waiting_in"] = [Unavailable("gone")]
    with pytest.raises(Unavailable):
        await account.look()
    store.era = "after the fire"
    await account.look()
    assert "at most 2, of 1 hubs" in caplog.text
    assert "Its 2 clients join again" in caplog.text
    assert accepted.now() == {"b": 1}
    await account.look()
    assert caplog.text.count("lost its data") == 1
    assert accepted.now() == {}
