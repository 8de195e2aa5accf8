"""The listener: the project's application for a channel, kept running."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from django_hub import listener as module
from django_hub.exceptions import Unavailable
from django_hub.layers.base import Layer
from django_hub.listener import EMBEDDED, GRACE, listen
from tests.apps import FaultyLayer
from tests.apps import world as world
from tests.sockets import turns, until

Receive = Callable[[], Awaitable[dict[str, Any]]]

# What the application of a test does; `application` is what the settings name.
play: list[Callable[[dict[str, Any], Receive, Any], Awaitable[None]]] = []


async def application(scope: dict[str, Any], receive: Receive, send: Any) -> None:
    await play[0](scope, receive, send)


class Hearing:
    """A listener on "chat", and what its application got."""

    def __init__(self) -> None:
        self.layer = FaultyLayer()
        self.used: Layer = Layer(self.layer)
        self.scopes: list[dict[str, Any]] = []
        self.got: list[Any] = []
        self.cancelled = 0
        play[:] = [self.note]

    def start(self) -> None:
        self.task = asyncio.create_task(listen(self.used, "chat", grace=3.0, embedded=True))

    def use(self, layer: Layer) -> Any:
        """Listen to this one from the next start on."""
        self.used = layer
        return layer

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])

    async def note(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        self.scopes.append(scope)
        try:
            while True:
                message = await receive()
                self.got.append(message["number"])
                await self.act(message["number"], send)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def asleep(self, scope: dict[str, Any], receive: Receive, send: Any) -> None:
        """An application that reads nothing."""
        await asyncio.Event().wait()

    async def act(self, number: int, send: Any) -> None:
        """What the application does with a message; a test puts its own here."""

    async def send(self, *numbers: int) -> None:
        for number in numbers:
            await self.layer.send("chat", {"type": "note", "number": number})

    async def heard(self, *numbers: int) -> None:
        await until(lambda: len(self.got) >= len(numbers))
        assert self.got == list(numbers)


@pytest.fixture
async def hearing(settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hearing]:
    settings.ASGI_APPLICATION = "tests.test_listener.application"
    # No test waits for the pauses between starts.
    monkeypatch.setattr(module, "waits", lambda **_: iter(lambda: 0.0, None))
    hearing = Hearing()
    hearing.start()
    yield hearing
    await hearing.stop()


async def test_messages_reach_the_application_in_order(hearing: Hearing) -> None:
    await hearing.send(1, 2, 3)
    await hearing.heard(1, 2, 3)


async def test_its_scope_is_that_of_a_worker_inside_the_server(hearing: Hearing) -> None:
    await until(lambda: hearing.scopes)
    assert hearing.scopes == [{"type": "channel", "channel": "chat", GRACE: 3.0, EMBEDDED: True}]


async def test_an_application_that_fails_is_started_again_and_the_next_one_gets_what_waits(
    hearing: Hearing, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(number: int, send: Any) -> None:
        if number == 1:
            raise ValueError("no")

    hearing.act = act  # type: ignore[method-assign]
    await hearing.send(1, 2, 3)
    await hearing.heard(1, 2, 3)
    assert len(hearing.scopes) == 2
    assert hearing.scopes[0] is not hearing.scopes[1]
    assert "The application for channel chat failed" in caplog.text
    assert 'ChannelNameRouter({"chat": YourEvents.as_asgi()})' in caplog.text


async def test_an_application_that_ends_is_started_again(hearing: Hearing) -> None:
    rounds: list[int] = []

    async def one_message(scope: dict[str, Any], receive: Receive, send: Any) -> None:
        rounds.append((await receive())["number"])

    await hearing.stop()
    play[:] = [one_message]
    hearing.start()
    await hearing.send(1, 2, 3)
    await until(lambda: rounds == [1, 2, 3])


async def test_an_application_that_is_not_there_is_logged_and_looked_for_again(
    hearing: Hearing, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await hearing.stop()
    settings.ASGI_APPLICATION = "tests.nowhere.application"
    hearing.start()
    await hearing.send(1)
    await until(lambda: "Cannot import ASGI_APPLICATION" in caplog.text)
    settings.ASGI_APPLICATION = "tests.test_listener.application"
    await hearing.heard(1)


async def test_an_application_for_a_channel_can_send_to_nobody(hearing: Hearing) -> None:
    errors: list[str] = []

    async def act(number: int, send: Any) -> None:
        try:
            await send({"type": "websocket.send", "text": "x"})
        except RuntimeError as error:
            errors.append(str(error))

    hearing.act = act  # type: ignore[method-assign]
    await hearing.send(1)
    await until(lambda: errors)
    assert "hub_send and hub_broadcast" in errors[0]


@pytest.mark.parametrize(
    ("error", "words"), [(ConnectionError, "Nothing comes"), (KeyError, "gave nothing")]
)
async def test_a_layer_that_fails_is_tried_again(
    hearing: Hearing, error: type[Exception], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    await hearing.stop()
    hearing.layer.error = error
    hearing.layer.fail = {"receive": 2}
    hearing.start()
    await hearing.send(1)
    await hearing.heard(1)
    assert caplog.text.count(words) == 2


async def test_its_end_is_the_end_of_the_application(hearing: Hearing) -> None:
    await hearing.send(1)
    await hearing.heard(1)
    await hearing.stop()
    assert hearing.cancelled == 1


class Returning(Layer):
    """A layer with one queue for all who receive: what is not read goes back."""

    returned: Sequence[Any] = ()
    away: Unavailable | None = None

    async def stop(self, channel: str, unread: Sequence[Any] = ()) -> None:
        self.returned = unread
        if self.away is not None:
            raise self.away


async def test_what_it_has_taken_and_not_read_goes_back_whole(hearing: Hearing) -> None:
    await hearing.stop()
    play[:] = [hearing.asleep]
    layer = hearing.use(Returning(hearing.layer))
    hearing.start()
    numbers = list(range(module._UNREAD + 5))
    await hearing.send(*numbers)
    waiting = hearing.layer.channels["chat"]
    await until(lambda: waiting.qsize() == 5)
    await turns()
    await hearing.stop()
    assert waiting.qsize() == 5, "it takes a few beforehand, not all"
    left = [waiting.get_nowait()[1]["number"] for _ in range(5)]
    assert [message["number"] for message in layer.returned] + left == numbers


async def test_what_can_not_go_back_is_told_of(hearing: Hearing, caplog: pytest.LogCaptureFixture) -> None:
    await hearing.stop()
    layer = hearing.use(Returning(hearing.layer))
    layer.away = Unavailable("3 of 5 messages")
    hearing.start()
    await hearing.send(1)
    await hearing.heard(1)
    await hearing.stop()
    assert "Not all is left to the next worker: 3 of 5 messages" in caplog.text
