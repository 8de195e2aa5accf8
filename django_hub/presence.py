"""Presence: who is in a hub, told to its clients of ``hub.v1``.

A newcomer gets the list with its `hello`, and everyone each change as a numbered entry of the hub's log, in
the order of the hub's events: so presence is recovered like any message, and costs one broadcast a
change however many are there (Phoenix has the same two: state and diffs).

A change is told by the worker that handles its event, and so at least once: clients take it by client id.
"""

from __future__ import annotations

from django_hub.delivery import taken
from django_hub.entries import Entry, Kind
from django_hub.envelopes import presence_change
from django_hub.events import Joined, Left, Lost, Resumed, Updated
from django_hub.members import Member
from django_hub.relay import get_relay

_CHANGES = {
    Joined: ("joined", "online"),
    Left: ("left", "gone"),
    Lost: ("lost", "lost"),
    Resumed: ("resumed", "online"),
    Updated: ("updated", "online"),
}


def shown(member: Member) -> dict[str, object]:
    """A member as clients see it."""
    return {
        "client": member.client_id,
        "user": member.user_id,
        "meta": member.meta,
        "state": member.state,
    }


async def show_presence(event: Joined | Left | Lost | Resumed | Updated) -> None:
    """Tell a hub's clients what happened to one of them. In a handler, its batch waits for that."""
    change, state = _CHANGES[type(event)]
    member = {"client": event.client_id, "user": event.user_id, "meta": event.meta, "state": state}
    entry = Entry(event.hub, presence_change(change, member), kind=Kind.PRESENCE)
    await taken([get_relay().sender.broadcast(entry)])
