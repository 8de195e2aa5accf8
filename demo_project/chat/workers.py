"""The chat itself: what happens when someone comes, speaks or goes."""

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from django_hub import HubEvents, Joined, Left, Message, hub_broadcast, hub_members, hub_send

from .names import is_name

Fields = dict[str, Any]


class MessageError(Exception):
    """A client's message that makes no sense; the text tells its sender what would."""


class ChatEvents(HubEvents):
    """Handles a room's events one after another, so nothing here needs a lock."""

    async def hub_joined(self, event: Joined) -> None:
        await self.send_members(event.hub, event.client_id)
        await hub_broadcast(event.hub, {"type": "joined", "client": event.client_id})

    async def hub_left(self, event: Left) -> None:
        left = {"type": "left", "client": event.client_id, "reason": event.reason}
        # Not to who left: the only socket of that name can be the newcomer that replaced it.
        await hub_broadcast(event.hub, left, exclude=[event.client_id])

    async def hub_message(self, event: Message) -> None:
        if isinstance(event.data, bytes):
            await hub_broadcast(event.hub, event.data)
            return
        try:
            fields = read_fields(event)
            await self.handlers[read_type(fields, self.handlers)](self, event, fields)
        except MessageError as error:
            reply = {"type": "error", "error": str(error)}
            await hub_send(event.client_id, reply, hub=event.hub)

    async def say(self, event: Message, fields: Fields) -> None:
        said = {"type": "said", "client": event.client_id, "text": read_text(fields, "text")}
        await hub_broadcast(event.hub, said)

    async def tell(self, event: Message, fields: Fields) -> None:
        to = read_text(fields, "to")
        told = {"type": "told", "client": event.client_id, "text": read_text(fields, "text")}
        if not is_name(to) or not await hub_send(to, told, hub=event.hub):
            raise MessageError(f"nobody here is called {shown(to)}")

    async def typing(self, event: Message, _fields: Fields) -> None:
        # Nobody needs it later: where a client is slow or away it may be left out.
        typing = {"type": "typing", "client": event.client_id}
        await hub_broadcast(event.hub, typing, droppable=True, exclude=[event.client_id])

    async def who(self, event: Message, _fields: Fields) -> None:
        await self.send_members(event.hub, event.client_id)

    async def send_members(self, hub: str, client_id: str) -> None:
        members = sorted([member.client_id async for member in hub_members(hub)])
        await hub_send(client_id, {"type": "members", "members": members}, hub=hub)

    handlers: ClassVar[dict[str, Callable[["ChatEvents", Message, Fields], Awaitable[None]]]] = {
        "say": say,
        "tell": tell,
        "typing": typing,
        "who": who,
    }


def read_fields(event: Message) -> Fields:
    """The message as a JSON object."""
    try:
        value = event.json()
    except ValueError as error:
        raise MessageError(f"expected a JSON object, this is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise MessageError(f"expected a JSON object, got {kind(value)}")
    return value


def read_type(fields: Fields, known: dict[str, Any]) -> str:
    """The message's type, one of those known."""
    name = read_text(fields, "type")
    if name not in known:
        raise MessageError(f"unknown type {shown(name)}; known are: {', '.join(known)}")
    return name


def read_text(fields: Fields, name: str) -> str:
    """A field that must be there and hold text that can be sent on."""
    if name not in fields:
        raise MessageError(f'field "{name}" is missing')
    value = fields[name]
    if not isinstance(value, str):
        raise MessageError(f'field "{name}" must be a string, not {kind(value)}')
    if any("\ud800" <= character <= "\udfff" for character in value):
        # JSON can write half of a surrogate pair ("\ud800"), UTF-8 cannot carry it.
        raise MessageError(f'field "{name}" holds half a character (a lone surrogate)')
    return value


def kind(value: object) -> str:
    """What a value is in JSON's own words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"


def shown(text: str) -> str:
    """The client's own text, quoted, and short enough for an error."""
    return f'"{text}"' if len(text) <= 64 else f'"{text[:64]}…"'
