"""What tests of a project with hubs need: see ``docs/howto/test.md``.

    async with clean_hubs():
        async with HubCommunicator("/ws/garden/") as ann:
            await ann.send("hello")
            assert await ann.receive_json() == {"said": "hello"}

With pytest, ``pytest_plugins = ["django_hub.testing.plugin"]`` brings the fixture ``clean_hubs``. There
is no entry point that loads it by itself: whatever imports a module of this package imports Django and
Channels, and one would do so in every run of pytest in whose environment the package happens to be.

Nothing here imports `channels.testing`, which needs daphne, and whose time-outs cancel the application.
"""

from __future__ import annotations

from django_hub.client_errors import HubClosed, HubRefused
from django_hub.client_items import PresenceChange, Present, Received, Resync
from django_hub.testing.assertions import assert_broadcast, assert_sent, refute_broadcast, refute_sent
from django_hub.testing.chaos import ChaosLayer
from django_hub.testing.cleaning import LeftBehind, clean_hubs
from django_hub.testing.communicator import HubCommunicator
from django_hub.testing.draining import drain
from django_hub.testing.records import Broadcast, Sent

__all__ = [
    "Broadcast",
    "ChaosLayer",
    "HubClosed",
    "HubCommunicator",
    "HubRefused",
    "LeftBehind",
    "PresenceChange",
    "Present",
    "Received",
    "Resync",
    "Sent",
    "assert_broadcast",
    "assert_sent",
    "clean_hubs",
    "drain",
    "refute_broadcast",
    "refute_sent",
]
