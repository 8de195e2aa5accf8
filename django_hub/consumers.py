"""HubConsumer: a websocket consumer whose client is in a hub."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, ClassVar

from channels.consumer import AsyncConsumer
from django.core.exceptions import ImproperlyConfigured

from django_hub.access import Access, require_permissions
from django_hub.bounds import Bounds, WhenSlow
from django_hub.conf import get_settings, require_type
from django_hub.door import Door
from django_hub.exceptions import InvalidBound, Refused
from django_hub.hooks import require_async
from django_hub.logs import get_logger
from django_hub.messages import Sendable, encode
from django_hub.names import DEFAULT_EVENTS, require_events_channel, require_key, require_open_hub_name
from django_hub.readahead import Receive
from django_hub.rechecks import RECENT
from django_hub.relay import get_relay
from django_hub.stay import Stay
from django_hub.visitors import Visitor

logger = get_logger(__name__)


_LIMITS = {
    "max_message_bytes": "int",
    "rate": "float | None",
    "burst": "int",
    "heartbeat": "float",
    "max_members": "int | None",
    "presence": "bool",
    # "no" is true, and None lets everybody in.
    "login_required": "bool",
    "ticket_required": "bool",
}

_DECIDE = ("authorize", "may_send", "may_receive")
_HOOKS = ("get_hub", "get_client_id", "get_meta", *_DECIDE, "on_message")


class HubConsumer(AsyncConsumer):
    """Puts its client into a hub, and what the client sends into the hub's mailbox.

    Route it as any consumer: ``path("ws/<hub>/", MyConsumer.as_asgi())``. What happens to the client is
    handled by the `HubEvents` on the channel ``events``.

    A socket that may not join is first accepted and then closed with a code that says why: 4403 if
    `authorize` says no, 1011 if a hook fails, 4400 for a hub name or client id that can't be one, and any
    other by raising `Refused`. Refusing before would show browsers nothing but 1006, the same as a server
    that is down, and they'd come back for ever. `channels.exceptions.DenyConnection` in a hook still
    refuses with HTTP 403.

    Order: the `Joined` of a client comes before its first message, its messages in the order they were
    sent, its `Left` last. A message counts as accepted when `on_message` has returned. Until then the
    socket is not read; where the server can't stop reading, a client of which too much waits is closed
    with 1013.
    """

    #: The channel whose worker handles the events of its hubs. A hub has one: where consumers with others
    #: lead into the same hub, that of who came first, or of `hub_create`.
    events: ClassVar[str] = DEFAULT_EVENTS

    # Who may join. Asked before the client is a member, and again while it is one, when something changed
    # in the rights of its user: see `docs/howto/authorize.md`.

    #: Only who is logged in may join. False: anybody may, also without middleware that knows users.
    login_required: ClassVar[bool] = True
    #: Only a user who has this permission may join, as ``"chat.read_room"``, or all of several.
    permission_required: ClassVar[str | Sequence[str]] = ()
    #: Only who brings a `hub_ticket` may join; cookies count for nothing. For pages of other origins.
    ticket_required: ClassVar[bool] = False

    # Limits of a client. Those that can be none raise `ImproperlyConfigured` when the class is made.

    #: A longer message closes the socket with 1009, before anything looks into it. In bytes. Clients of
    #: ``hub.v1`` know it: they refuse to send that one, and stay.
    max_message_bytes: ClassVar[int] = 65536
    #: A client may send ``burst`` messages at once, and ``rate`` a second in the long run. One that sends
    #: more is held back: its socket is not read until its next message is due. If it does not heed that
    #: for more than ``burst`` messages, it is closed with 4429. ``rate = None``: no limit.
    rate: ClassVar[float | None] = 100.0
    burst: ClassVar[int] = 1000
    _bounds: ClassVar[Bounds] = Bounds()
    #: What may wait for a client, and what becomes of one for which more does: see `Bounds`.
    max_queue_bytes: ClassVar[int] = _bounds.max_queue_bytes
    max_queue_messages: ClassVar[int] = _bounds.max_queue_messages
    when_slow: ClassVar[WhenSlow] = _bounds.when_slow

    #: A hub that has so many members takes no newcomer: closed with 4433. None: any number. How many
    #: sockets a user or an address may have, over all consumers, DJANGO_HUB says: docs/howto/limits.md.
    max_members: ClassVar[int | None] = None

    # Of clients that speak the subprotocol ``hub.v1``, as `hub.js` does; all others are raw.

    #: A client that lost its connection and is back within so many seconds is the same client: no
    #: `Left` and no `Joined`, but `Lost` and `Resumed`. 0: every reconnect is a new client.
    grace: ClassVar[float] = 15.0
    #: Show clients who is in the hub, and each change: see `docs/reference/protocol.md`.
    presence: ClassVar[bool] = False
    #: The client shows every so many seconds that it is there; silent for 2.5 times that, it is lost. Not
    #: less than 25 for pages: Chrome wakes one that is hidden once a minute.
    heartbeat: ClassVar[float] = 25.0

    #: The hub's name and the client's id: set before `on_message` is called.
    hub: str
    client_id: str

    # Hooks, in the order in which they are called

    async def get_hub(self) -> str:
        """The name of the hub to join. Default: the ``hub`` of the url route.

        A name is one for the whole site. Where another consumer lets in other people, put something before
        it that only this one does; else who may come in here may come into those hubs.
        """
        try:
            name: str = self.scope["url_route"]["kwargs"]["hub"]
        except KeyError:
            raise ImproperlyConfigured(
                f"{type(self).__name__} finds no 'hub' in its url route. Route it with one, as in "
                'path("ws/<hub>/", ...), or override get_hub().'
            ) from None
        return name

    async def get_client_id(self) -> str | None:
        """The client's id in the hub; None for a new one. The newest connection of an id stays, the older
        is closed with 4409."""
        return None

    async def authorize(self) -> bool:
        """May this client join? `hub` and `client_id` are set, and ``self.scope["user"]``.

        Default: as `login_required` and `permission_required` say; a user who is not logged in may not.
        What you write in its place decides alone: call ``await super().authorize()`` for these two.
        It is asked again while the client is a member, with its user loaded anew, when that user's rights
        changed: so ask for what can change here, and do nothing else. No: the client is closed with 4403.
        """
        return await self._access.by_default(self)

    async def may_send(self) -> bool:
        """May this client send? Default: yes. Asked after `authorize`, and again as that is.

        No: it hears and is seen as any member. What it sends is not taken; a client of ``hub.v1`` is told
        so of each message (``refused``, with 4403) and stays, a raw one is closed with 4403.
        """
        return True

    async def may_receive(self) -> bool:
        """May this client hear what the hub's clients hear? Default: yes. Asked as `may_send`.

        No: it gets no broadcasts, no presence and no history. What is for it alone it does get: `hub_send`
        to its client id, `send`, replies to its requests.
        """
        return True

    async def get_meta(self) -> dict[str, Any]:
        """What others may know of the client, as a dict of JSON values: `Member.meta`, `Joined.meta`.

        It goes along with each event of the client. One of more than 64 KiB as JSON is logged, and the
        client closed with 1011, as where this fails.
        """
        return {}

    async def on_message(self, data: str | bytes) -> None:
        """Take what the client sent: str for a text frame, bytes for a binary one. Default: `post` it.

        The next message is read when it returns. If it raises `Refused`, the socket is closed as that says
        and the client leaves with ``close``: the message does not count as accepted, so a client of
        ``hub.v1`` that is to come back sends it again. If it raises anything else, that is logged and the
        client leaves with ``read``; its socket is closed with 1011.
        """
        await self.post(data)

    # What `on_message` may call

    async def post(self, data: str | bytes) -> bool:
        """Put a message into the hub's mailbox. True: its handler will get it.

        Waits while the mailbox is full. False: the client is no longer a member. What `on_message` posts
        of a message that a client of ``hub.v1`` sends again is taken once, as far as its first 1,023
        posts; what is posted elsewhere is always taken, and no part of a request.
        """
        return await self._here().post(data)

    async def send(self, message: Sendable, *, key: str = "") -> bool:  # type: ignore[override]
        """Send to this client alone, past the hub. False: its socket is closed. ``key``: see `Bounds`.

        Raises `InvalidMessage` for what can't be sent, and above 16 MiB. Never waits.
        """
        frame = encode(message, get_settings().encoder)
        require_key(key)
        return self._here().send(frame, key)

    async def close(self, code: int = 1000, reason: str = "") -> bool:
        """Close the socket behind what was sent. False: it is closed.

        Raises `InvalidMessage` for a code or reason that can't be sent.
        """
        return self._here().close(code, reason)

    # What the relay calls, when it is to be asked again

    #: `permission_required`, as a tuple.
    permissions: ClassVar[tuple[str, ...]] = ()
    #: None of `authorize`, `may_send` and `may_receive` is the project's own.
    plain_access: ClassVar[bool] = True

    def knows(self, user: Any, granted: Mapping[str, bool]) -> bool | None:
        """May this client stay, of which ``user`` was loaded anew? None: its hooks must be asked.

        Many sockets are checked at once: what is known needs no coroutine a hook and no time-out.
        """
        if not self.plain_access:
            return None
        self.scope["user"] = user
        return self._access.known(self, granted)

    async def check_again(self, user: Any, granted: Mapping[str, bool]) -> Refused | None:
        """Ask the hooks once more, of a user loaded anew; a refusal, or None."""
        self.scope["user"] = user
        refusal = await self._access.ask(self, granted)
        self._here().let_hear(self._access.may_receive)
        return refusal

    # How it comes to all that

    _stay: Stay | None = None
    # Of a hook that is called without a socket, which changes nothing here.
    _access = Access()
    _named = staticmethod(require_open_hub_name)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        require_async(cls, _HOOKS)
        require_events_channel(cls.events)
        for name, kind in _LIMITS.items():
            require_type(f"{cls.__name__}.{name}", getattr(cls, name), kind)
        if cls.grace != 0:
            require_type(f"{cls.__name__}.grace", cls.grace, "float")
        cls.permissions = require_permissions(cls.__name__, cls.permission_required)
        cls.plain_access = all(getattr(cls, hook) is getattr(HubConsumer, hook) for hook in _DECIDE)
        try:
            cls._bounds = Bounds(
                max_queue_bytes=cls.max_queue_bytes,
                max_queue_messages=cls.max_queue_messages,
                when_slow=cls.when_slow,
            )
        except InvalidBound as error:
            raise ImproperlyConfigured(f"{cls.__name__}.{error}") from None

    # Not Channels' own dispatch: that takes two tasks a connection, a channel of the layer, and a thread
    # hop a message; and nothing of it runs after an exception.
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        self._access = Access()
        if (await receive())["type"] != "websocket.connect":
            return
        since = asyncio.get_running_loop().time() - RECENT
        try:
            get_settings().encoder  # noqa: B018 (it is looked up here)
        except ImproperlyConfigured as error:
            _tell_once(str(error))
            raise
        relay = get_relay()
        with Visitor(relay.places, scope) as visitor:
            door = Door(self, self._access, relay, visitor, self._named, self._bounds, since)
            await door.open(receive, send, self._enter)

    def _here(self) -> Stay:
        if self._stay is None:
            raise RuntimeError(
                f"{type(self).__name__}: post, send and close are for a client that was let in. A hook "
                "that is asked before raises Refused(code, reason) to turn it away; what a newcomer is to "
                "get is sent by hub_joined of the HubEvents."
            )
        return self._stay

    def _enter(self, stay: Stay, receive: Receive) -> Awaitable[None]:
        self._stay = stay
        return stay.last(receive, self)


@functools.cache
def _tell_once(error: str) -> None:
    """A server shows what its application raised for each socket, deep in a traceback of its own."""
    logger.critical("No client can join: %s See manage.py check.", error)
