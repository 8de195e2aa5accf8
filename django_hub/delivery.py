"""The way from code that knows a client by name to its relay."""

from __future__ import annotations

from collections.abc import Sequence

from django_hub.conf import get_settings
from django_hub.effects import effects_in_hand
from django_hub.entries import Entry, Kind, Scope
from django_hub.events import Message
from django_hub.messages import Frame, Json, encode
from django_hub.names import session_of
from django_hub.relay import get_relay
from django_hub.sender import Sent
from django_hub.spans import sending
from django_hub.stores.ops import Address
from django_hub.stores.registry import get_store


async def find(client_id: str, hub: str | None) -> tuple[str, Address] | None:
    """A client's hub, and where it is; with no ``hub`` its newest connection."""
    if hub is None:
        member = await get_store().find(client_id)
    else:
        effects = effects_in_hand()
        if effects is not None and effects.hub == hub:
            address = await effects.address(client_id)
            return (hub, address) if address else None
        member = await get_store().member(hub, client_id)
    return (member.hub, Address(member.process, member.connection)) if member else None


async def taken(sent: Sequence[Sent]) -> None:
    """Wait until the layer has it all; in a handler, its batch waits for that (see `effects`)."""
    if (effects := effects_in_hand()) is not None:
        await effects.add(sent)
        return
    for future in sent:
        if (error := await future) is not None:
            raise error


async def send_reply(event: Message, value: object) -> bool:
    """What `Message.reply` does."""
    frame = encode(value if isinstance(value, (str, bytes)) else Json(value), get_settings().encoder)
    return await _answer(event, frame, Kind.MESSAGE)


async def send_failure(event: Message) -> bool:
    """Tell who made this request that its handler failed, and no word of how. False: nobody waits."""
    return await _answer(event, "the handler failed", Kind.FAILED)


async def _answer(event: Message, frame: Frame, kind: Kind) -> bool:
    found = await find(event.client_id, event.hub)
    if found is None or event.request is None:
        return False
    hub, address = found
    if not session_of(address.connection):
        return False
    entry = Entry(hub, frame, Scope.ONLY, (address.connection,), reply=event.request, kind=kind)
    with sending("reply", hub):
        await taken([get_relay().sender.direct(address.process, entry, event.client_id)])
    return True
