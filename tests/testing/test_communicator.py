import asyncio
import traceback
from unittest.mock import ANY

import pytest

from django_hub.api import hub_broadcast, hub_members
from django_hub.endings import end
from django_hub.messages import Close
from django_hub.testing import (
    HubClosed,
    HubCommunicator,
    HubRefused,
    PresenceChange,
    clean_hubs,
    drain,
    refute_sent,
    watch,
)
from tests.sockets import until
from tests.testing.garden import EchoConsumer, GardenConsumer

HUB_V1 = ["hub.v1"]
pytestmark = pytest.mark.usefixtures("clean_hubs")


# Raw clients


async def test_a_raw_client_hears_what_is_sent():
    async with HubCommunicator("/ws/rose/?ann") as ann, HubCommunicator("/ws/rose/") as bob:
        assert (ann.client_id, ann.subprotocol, ann.hello, ann.presence) == (None, None, {}, {})
        await drain()
        await ann.send("hello")
        assert await ann.receive_json() == {"said": "hello"}
        assert await ann.receive() == "thanks"
        assert await bob.receive() == '{"said":"hello"}'
        await ann.send({"x": 1})
        assert (await bob.receive_json())["said"] == '{"x": 1}'
        await drain()
        assert ann.received()[-1] == "thanks"
        assert ann.running
    assert not ann.running
    assert [member async for member in hub_members()] == []


async def test_any_consumer_and_its_scope():
    async with HubCommunicator("/any/", EchoConsumer.as_asgi()) as client:
        await client.send("echo")
        assert await client.receive() == "echo"
    scope = {"url_route": {"kwargs": {"hub": "tulip"}}}
    async with HubCommunicator("/any/", GardenConsumer.as_asgi(), scope=scope):
        await drain()
        assert [member.hub async for member in hub_members()] == ["tulip"]


async def test_giving_up_waiting_does_not_harm_the_application():
    async with HubCommunicator("/ws/echo/") as client:
        await client.send("late")
        with pytest.raises(TimeoutError, match=r"is busy: .*garden\.py:\d+, in receive"):
            await client.receive(timeout=0.01)
        assert client.running
        assert await client.receive() == "late"
        with pytest.raises(TimeoutError, match="waits for the client"):
            await client.receive(timeout=0.01)
        await client.send("again")
        assert await client.receive() == "again"


async def test_it_always_disconnects_and_keeps_the_tests_own_error():
    with pytest.raises(KeyError) as caught:
        async with HubCommunicator("/ws/rose/?ann") as ann:
            await drain()
            raise KeyError("the test's own")
    assert not hasattr(caught.value, "__notes__")
    assert not ann.running
    assert [member async for member in hub_members()] == []


@pytest.mark.parametrize("path", ["/ws/echo/", "/ws/rose/"])
@pytest.mark.parametrize("how", ["receive", "drain", "leave"])
async def test_an_exception_in_a_consumer_surfaces_with_its_traceback(path, how):
    with pytest.raises(ZeroDivisionError, match="broke") as caught:
        async with HubCommunicator(path) as client:
            await client.send("break")
            if how == "receive":
                await client.receive()
            elif how == "drain":
                await drain()
                await client.receive()
    assert "garden.py" in "".join(traceback.format_exception(caught.value))


async def test_an_exception_in_a_handler_surfaces_once_with_its_traceback():
    async with HubCommunicator("/ws/rose/") as ann:
        await ann.send("fail")
        with pytest.raises(ValueError, match="the handler broke") as caught:
            await ann.receive()
        text = "".join(traceback.format_exception(caught.value))
        assert "hub_message" in text
        assert "of hub rose failed" in text
        await ann.send("go on")
        await drain()
        assert await ann.receive_json() == {"said": "go on"}
    with pytest.raises(ValueError, match="the handler broke"):
        async with HubCommunicator("/ws/rose/") as ann:
            await ann.send("fail")
            await until(lambda: watch.current("the test").has_failure)


async def test_the_tests_error_says_that_the_application_failed():
    with pytest.raises(KeyError) as caught:
        async with HubCommunicator("/ws/echo/") as client:
            await client.send("break")
            raise KeyError
    assert "the echo broke" in caught.value.__notes__[0]


async def test_refusals():
    async with HubCommunicator("/ws/locked/") as ann:
        closed = await ann.closed()
        assert (closed.code, closed.reason) == (4403, "not allowed")
        with pytest.raises(HubClosed, match="4403"):
            await ann.receive()
        with pytest.raises(HubClosed, match="4403"):
            await ann.send("x")
    with pytest.raises(HubClosed, match=r"4403.*not allowed"):
        await HubCommunicator("/ws/locked/", subprotocols=HUB_V1).__aenter__()
    with pytest.raises(HubClosed, match=r"HTTP 403.*http://testserver"):
        await HubCommunicator("/ws/denied/").__aenter__()


async def test_what_came_before_a_close_is_read_before_it():
    async with HubCommunicator("/ws/rose/") as ann:
        await drain()
        await hub_broadcast("rose", "last")
        await hub_broadcast("rose", Close(4000, "enough"))
        assert (await ann.closed()).reason == "enough"
        assert await ann.receive() == "last"
        with pytest.raises(HubClosed, match="4000"):
            await ann.receive()


async def test_an_application_that_does_not_end_is_told(settings):
    settings.DJANGO_HUB = {**settings.DJANGO_HUB, "SHUTDOWN_GRACE": 0.05}
    with pytest.raises(AssertionError, match=r"did not end .*in receive"):
        async with HubCommunicator("/ws/echo/") as client:
            await client.send("hang")


# Clients of hub.v1


async def test_a_client_of_hub_v1_talks():
    async with HubCommunicator("/ws/rose/?ann", subprotocols=HUB_V1) as ann:
        assert (ann.client_id, ann.subprotocol) == ("ann", "hub.v1")
        assert ann.hello["recovered"] == "new"
        await drain()
        ann.received()
        await ann.send({"x": 1})
        assert await ann.receive() == {"said": '{"x":1}'}
        assert await ann.receive_json() == "thanks"
        assert await ann.request("what?") == {"answer": "what?"}


async def test_presence():
    async with HubCommunicator("/ws/rose/?ann", subprotocols=HUB_V1) as ann:
        await drain()
        ann.received()
        async with HubCommunicator("/ws/rose/?bob", subprotocols=HUB_V1) as bob:
            await drain()
            assert ann.received() == [PresenceChange(event="joined", member=ANY)]
            assert set(ann.presence) == {"ann", "bob"}
            await bob.drop()
            await drain()
            (lost,) = ann.received()
            assert (lost.event, lost.member.state) == ("lost", "lost")
            await hub_broadcast("rose", "while away")
            await bob.connect()
            assert bob.hello["resumed"]
            assert bob.hello["recovered"] == "yes"
            await drain()
            assert "while away" in bob.received()
        await drain()
        assert [change.event for change in ann.received() if isinstance(change, PresenceChange)] == [
            "resumed",
            "left",
        ]


async def test_who_was_lost_does_not_outlive_the_hubs():
    async with HubCommunicator("/ws/rose/?ann", subprotocols=HUB_V1) as ann:
        await ann.drop()
        with pytest.raises(HubClosed, match="1006"):
            await ann.send("x")
        await ann.close()


async def test_a_request_whose_handler_fails_raises_what_the_handler_did():
    async with HubCommunicator("/ws/rose/?ann", subprotocols=HUB_V1) as ann:
        await drain()
        ann.received()
        with pytest.raises(ValueError, match="the handler broke"):
            await ann.request("fail")
        await drain()
        refute_sent("ann", hub="rose")
        assert ann.received() == []


async def test_who_may_not_send_is_told_so_and_stays():
    async with HubCommunicator("/ws/library/?ann", subprotocols=HUB_V1) as ann:
        for call in (ann.send, ann.request):
            with pytest.raises(HubRefused, match="this client may not send") as refused:
                await call("hello")
            assert refused.value.code == 4403
        await hub_broadcast("library", "still here")
        await drain()
        assert [each for each in ann.received() if not isinstance(each, PresenceChange)] == ["still here"]


async def test_no_answer_to_a_request():
    async with HubCommunicator("/ws/rose/", subprotocols=HUB_V1) as ann:
        with pytest.raises(TimeoutError, match="Nothing came within"):
            await ann.request("slow", timeout=0.02)


# Who it is


async def test_a_user():
    from django.contrib.auth.models import User

    async with HubCommunicator("/ws/members/rose/") as nobody:
        assert (await nobody.closed()).code == 4403
    async with HubCommunicator("/ws/members/rose/", user=User(id=7, username="ann")):
        await drain()
        assert [member.user_id async for member in hub_members("rose")] == ["7"]


# Misuse


async def test_misuse_teaches():
    client = HubCommunicator("/ws/rose/")
    for call in (client.receive(), client.send("x"), client.closed(), client.connect(), client.drop()):
        with pytest.raises(RuntimeError, match="async with HubCommunicator"):
            await call
    with pytest.raises(RuntimeError, match="async with HubCommunicator"):
        client.received()
    with pytest.raises(TypeError, match="write 'async with'"), client:
        pass
    with pytest.raises(TypeError, match="The path comes first"):
        HubCommunicator(EchoConsumer.as_asgi(), "/ws/rose/")
    with pytest.raises(TypeError, match=r"subprotocols=\['hub.v1'\]"):
        HubCommunicator("/ws/rose/", subprotocols="hub.v1")
    async with client:
        with pytest.raises(TypeError, match="raw client has no requests"):
            await client.request("x")


async def test_a_layer_without_its_broker_is_named(settings):
    # Inside of clean_hubs, as if it were not there.
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [{"address": "redis://127.0.0.1:1/0", "socket_timeout": 15}]},
        }
    }
    settings.DJANGO_HUB = {"SHUTDOWN_GRACE": 0.1}
    before = asyncio.all_tasks()
    with pytest.raises(TimeoutError, match=r"(?s)Clients wait to be let in.*RedisChannelLayer.*clean_hubs"):
        await HubCommunicator("/ws/rose/", subprotocols=HUB_V1, timeout=0.2).__aenter__()
    # It would wait for its broker.
    await end(asyncio.all_tasks() - before)


async def test_another_loop_is_refused():
    def elsewhere():
        with pytest.raises(RuntimeError, match="another event loop"):
            asyncio.run(HubCommunicator("/ws/rose/").__aenter__())

    await asyncio.to_thread(elsewhere)


async def test_it_works_on_the_settings_of_the_project_as_well():
    async with clean_hubs():
        pass
    async with HubCommunicator("/ws/echo/") as client:
        await client.send("x")
        assert await client.receive() == "x"
