"""What an operator does to hubs: one place for the admin's page and `manage.py hubs`."""

from __future__ import annotations

import json
from collections.abc import Collection

from django_hub.api import hub_broadcast, hub_send
from django_hub.bans import hub_kick
from django_hub.exceptions import InvalidMessage
from django_hub.messages import Close, Json
from django_hub.relay import get_relay
from django_hub.stores.ops import DeadLetter
from django_hub.stores.registry import get_store


async def kick(hub: str, client_id: str, reason: str = "kicked") -> bool:
    """Close a client's socket with 4403, after which it stays away. False: no such client."""
    return bool(await hub_kick(hub, client_id=client_id, reason=Close(reason=reason).shortened().reason))


async def send(hub: str, client_id: str, text: str, *, as_json: bool) -> bool:
    """False: no such client. Raises `InvalidMessage`."""
    return await hub_send(client_id, message(text, as_json=as_json), hub)


async def broadcast(hub: str, text: str, *, as_json: bool) -> bool:
    """False: there is no such hub. Raises `InvalidMessage`."""
    if await get_store().hub(hub) is None:
        return False
    await hub_broadcast(hub, message(text, as_json=as_json))
    return True


async def retry(hub: str, positions: Collection[int] | None = None, until: int | None = None) -> int:
    """Put dead letters back at the mailbox's end; how many. 0 where the hub is gone.

    All, or those at ``positions``, and with ``until`` none behind that one: what nobody has seen yet stays.
    """
    revived = await get_store().revive(await _letters(hub, positions, until))
    get_relay().bells.ring(revived.wakes)
    await get_relay().bells.idle()
    return revived.count


async def drop(hub: str, positions: Collection[int] | None = None, until: int | None = None) -> int:
    """Drop dead letters, chosen as in `retry`; how many."""
    return await get_store().discard(await _letters(hub, positions, until))


async def _letters(hub: str, positions: Collection[int] | None, until: int | None) -> list[DeadLetter]:
    return [
        letter
        for letter in await get_store().dead_letters(hub)
        if (positions is None or letter.position in positions)
        and (until is None or letter.position <= until)
    ]


def message(text: str, *, as_json: bool) -> str | Json:
    """Raises `InvalidMessage` where it is to be JSON and is none."""
    if not as_json:
        return text
    try:
        return Json(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"It is no JSON: {error}. Send it as text, or mend it.") from None
