"""What a server says of a socket's end: the reason and the code of the `Left`."""

import asyncio
from typing import Any

import pytest

from django_hub.departures import departure_of, departure_waiting


@pytest.mark.parametrize(
    ("message", "reason", "code"),
    [
        ({"code": 1000}, "close", 1000),
        ({"code": 4321}, "close", 4321),
        ({"code": 1006}, "read", 1006),
        ({"code": 1012}, "shutdown", 1012),
        ({}, "close", 1005),
    ],
)
def test_what_a_code_means(message: dict[str, Any], reason: str, code: int) -> None:
    departure = departure_of({"type": "websocket.disconnect", **message})
    assert (departure.reason, departure.code) == (reason, code)
    assert (departure.error is None) is (reason != "read")


def test_a_restart_that_we_spoke_of_ourselves_is_no_stop() -> None:
    departure = departure_of({"type": "websocket.disconnect", "code": 1012}, closed=True)
    assert (departure.reason, departure.code) == ("close", 1012)


async def test_the_one_that_waits_behind_messages_is_found_without_waiting() -> None:
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "websocket.receive", "text": "late"})
    assert departure_waiting(inbox.get) is None
    inbox.put_nowait({"type": "websocket.receive", "text": "later"})
    inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
    departure = departure_waiting(inbox.get)
    assert departure is not None
    assert departure.code == 1001
