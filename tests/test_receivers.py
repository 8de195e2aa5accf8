"""Receivers: whom of the connections here an entry is for."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_hub.entries import Entry, Scope
from django_hub.filters import Where
from django_hub.receivers import receivers

# By connection id. Of ann there are two for a moment, when she comes again.
HERE = {
    connection: SimpleNamespace(id=connection, client_id=client_id, meta=meta)
    for connection, client_id, meta in (
        ("1", "ann", {"team": "red"}),
        ("2", "bob", {"team": "blue"}),
        ("3", "cy", {}),
        ("4", "ann", {"team": "red", "level": 2}),
        ("5", "dee", {"team": "red", "level": 1}),
    )
}
RED = Where(team="red").filter()


def chosen(scope, ids=(), filter_=None):
    return [c.id for c in receivers(HERE, Entry("lobby", "hello", scope, ids, filter=filter_))]


@pytest.mark.parametrize(
    ("scope", "ids", "without", "red"),
    [
        (Scope.ALL, (), "12345", "145"),
        (Scope.ONLY, ("5", "2", "9"), "52", "5"),
        (Scope.ONLY, (), "", ""),
        (Scope.EXCEPT, ("ann", "1", "nobody"), "235", "5"),
        (Scope.EXCEPT, (), "12345", "145"),
        (Scope.CLIENTS, ("dee", "ann", "nobody", "2"), "145", "145"),
        (Scope.CLIENTS, ("bob", "cy"), "23", ""),
        (Scope.CLIENTS, (), "", ""),
    ],
)
def test_scope_and_filter_together(scope, ids, without, red):
    assert chosen(scope, ids) == list(without)
    assert chosen(scope, ids, RED) == list(red)


CLIENTS = st.lists(st.sampled_from(["ann", "bob", "cy", "dee", "nobody"]), max_size=4).map(tuple)


@given(CLIENTS, st.sampled_from([None, "red", "blue", "green"]))
def test_clients_and_except_part_all_between_them(ids, team):
    filter_ = Where(team=team).filter() if team else None
    everybody = chosen(Scope.ALL, (), filter_)
    these, others = chosen(Scope.CLIENTS, ids, filter_), chosen(Scope.EXCEPT, ids, filter_)
    assert sorted(these + others) == everybody
    assert {HERE[each].client_id for each in these} <= set(ids)
    assert not {HERE[each].client_id for each in others} & set(ids)
