import datetime as dt
from unittest.mock import ANY

import pytest

from django_hub import sync
from django_hub.api import hub_broadcast, hub_create, hub_send
from django_hub.messages import Close, Json
from django_hub.testing import (
    Broadcast,
    HubCommunicator,
    Sent,
    assert_broadcast,
    assert_sent,
    drain,
    refute_broadcast,
    refute_sent,
)


async def test_what_was_broadcast_to_nobody(clean_hubs):
    hub = await hub_create("rose")
    await hub_broadcast(hub, {"day": dt.date(2026, 1, 2), "id": "x7"}, exclude=["ann"], droppable=True)
    await hub_broadcast("rose", "text", only=["bob"])
    await hub_broadcast("rose", Json([1]))
    await hub_broadcast("rose", Close(4000))
    message = {"day": "2026-01-02", "id": "x7"}
    told = assert_broadcast(hub, {"day": "2026-01-02", "id": ANY})
    assert told == Broadcast(hub="rose", message=message, exclude=("ann",), droppable=True)
    assert assert_broadcast("rose", lambda message: message == "text").only == ("bob",)
    assert_broadcast("rose", Json([1]))
    assert_broadcast("rose", Close(4000))
    refute_broadcast("rose")
    await hub_broadcast("rose", {"day": dt.date(2026, 1, 2)})
    assert_broadcast("rose", {"day": dt.date(2026, 1, 2)})


async def test_each_assertion_takes_its_own(clean_hubs):
    for _ in range(2):
        await hub_broadcast("rose", "twice")
    assert_broadcast("rose", "twice")
    with pytest.raises(AssertionError, match="This was broadcast to hub 'rose': 'twice'"):
        refute_broadcast("rose", "twice")
    assert_broadcast("rose", "twice")
    refute_broadcast("rose", "twice")
    with pytest.raises(AssertionError, match=r"(?s)Nothing was sent.*Asserted before:.*'twice'.*'twice'"):
        assert_broadcast("rose", "twice")


async def test_errors_show_what_was_sent_instead(clean_hubs):
    await hub_broadcast("tulip", "other", exclude=["bob"])
    for number in range(23):
        await hub_broadcast("rose", f"number {number}", only=["ann"])
    with pytest.raises(AssertionError) as caught:
        assert_broadcast("tulip", "wanted")
    # What it may have been meant for comes first, however much came since.
    assert str(caught.value).startswith(
        "Hub 'tulip' was not sent 'wanted'."
        "\nIt was sent:\n    to hub 'tulip': 'other', exclude=['bob']"
        "\nOthers were:\n    (and 3 before)\n    to hub 'rose': 'number 3', only=['ann']\n"
    )
    assert str(caught.value).endswith("    to hub 'rose': 'number 22', only=['ann']")
    with pytest.raises(AssertionError, match=r"was not sent what <function .* is true for"):
        assert_broadcast("tulip", lambda message: False)


async def test_what_one_client_was_sent(clean_hubs):
    async with HubCommunicator("/ws/rose/?ann", subprotocols=["hub.v1"]) as ann:
        assert not await hub_send("nobody", "x", hub="rose")
        assert await ann.request("why") == {"answer": "why"}
        await drain()
        refute_sent("nobody")
        refute_sent("ann", "unsaid")
        refute_sent("ann", hub="tulip")
        sent = assert_sent("ann", {"answer": "why"}, hub="rose")
        assert sent == Sent(hub="rose", client_id="ann", message={"answer": "why"}, is_reply=True)
        assert str(sent) == "reply to 'ann' in hub 'rose': {'answer': 'why'}"
        with pytest.raises(AssertionError, match="This was sent: to 'ann' in hub 'rose': 'thanks'"):
            refute_sent("ann", "thanks")
        with pytest.raises(AssertionError, match=r"(?s)'ann' was not sent 'x'.*It was sent:.*'thanks'"):
            assert_sent("ann", "x")
        assert_sent("ann", "thanks")
        refute_sent("ann")


async def test_what_may_be_still_to_come_is_not_refuted(clean_hubs):
    async with HubCommunicator("/ws/rose/") as ann:
        await drain()
        refute_broadcast("rose")
        await ann.send("slow")
        with pytest.raises(RuntimeError, match="Write 'await drain"):
            refute_broadcast("rose")
        with pytest.raises(RuntimeError, match="refute_sent can't tell yet"):
            refute_sent("ann")
        with pytest.raises(AssertionError, match="its answers may be to come"):
            assert_broadcast("rose", {"said": "slow"})
        await drain()
        assert_broadcast("rose", {"said": "slow"})


@pytest.mark.parametrize("ask", [assert_broadcast, assert_sent, refute_broadcast, refute_sent])
def test_nobody_watches(ask):
    with pytest.raises(RuntimeError, match="take the fixture clean_hubs"):
        ask("rose", "x")


async def test_nobody_to_drain():
    with pytest.raises(RuntimeError, match="async with clean_hubs"):
        await drain()


def test_code_that_blocks(clean_hubs):
    sync.hub_broadcast("rose", {"from": "a view"})
    assert_broadcast("rose", {"from": "a view"})
    refute_broadcast("rose")
