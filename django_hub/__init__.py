"""Websocket rooms for Django Channels: hubs with members, ordered events and fast broadcasts.

The floors of this package; a file imports only from those below it:

    testing                            for the tests of projects
    apps · checks · management         Django's doors
    changes                            what Django's signals tell of users' rights
    consumers  HubConsumer             workers  HubEvents
    door · stay · intake               how its client comes in, stays and is heard
    sync                               the hub_* functions, blocking
    api · additions · bans · tickets   the hub_* functions
    access · adopted · hubs            who may join; other consumers' sockets; a hub's handle
    relay                              this process's clients: the whole
    rechecks · inquiries · interviews  and what becomes of them when rights change
    clients · keeper · pump · service  its parts, and a worker's hubs
    outbox · sender · fanout · groups · listener · effects     what these stand on
    receivers                          whom of its clients a broadcast is for
    bells · connection                 a worker's bell; one client's socket
    wires                              how frames get onto it
    stores                             where members and events live
    layers                             Channels' layers; relays within one process
    conf                               settings
    client                             hub.v1 for programs; it stands alone
    messages · events · names · ...    pure Python
"""

from __future__ import annotations

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
    hub_update,
)
from django_hub.bans import hub_ban, hub_kick, hub_unban
from django_hub.bounds import Bounds
from django_hub.consumers import HubConsumer
from django_hub.events import Joined, Left, Lost, Message, Resumed, Updated
from django_hub.exceptions import (
    Damaged,
    HubError,
    InvalidBound,
    InvalidMessage,
    InvalidName,
    Refused,
    Unavailable,
    UnreadableEvent,
)
from django_hub.filters import Where
from django_hub.hubs import Hub
from django_hub.members import Member
from django_hub.messages import Close, Json
from django_hub.tickets import hub_ticket
from django_hub.workers import HubEvents

__all__ = [
    "Bounds",
    "Close",
    "Damaged",
    "Hub",
    "HubConsumer",
    "HubError",
    "HubEvents",
    "InvalidBound",
    "InvalidMessage",
    "InvalidName",
    "Joined",
    "Json",
    "Left",
    "Lost",
    "Member",
    "Message",
    "Refused",
    "Resumed",
    "Unavailable",
    "UnreadableEvent",
    "Updated",
    "Where",
    "current_hub",
    "current_hubs",
    "hub_add",
    "hub_ban",
    "hub_broadcast",
    "hub_create",
    "hub_destroy",
    "hub_kick",
    "hub_member",
    "hub_members",
    "hub_post",
    "hub_remove",
    "hub_send",
    "hub_ticket",
    "hub_unban",
    "hub_update",
]
