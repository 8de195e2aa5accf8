"""The sockets: of a board, and of a user's notices."""

import json
from typing import Any

from django_hub import HubConsumer, hub_broadcast

from .hubs import board_hub, notices_hub
from .models import Board

EVENTS = "board-events"
BAD_REQUEST = 4400


def user_of(consumer: HubConsumer) -> Any:
    return consumer.scope["user"]


class BoardConsumer(HubConsumer):
    """In the hub of a board are its users' pages. What they send is where something is just now: their
    cursor, and the note that they drag. What is to stay goes to the views."""

    events = EVENTS
    presence = True
    # Of what is broadcast under one key only the newest waits for a page that is slow.
    when_slow = "latest"

    async def get_hub(self) -> str:
        return board_hub(self.scope["url_route"]["kwargs"]["board"])

    async def authorize(self) -> bool:
        board: int = self.scope["url_route"]["kwargs"]["board"]
        return await Board.objects.of(user_of(self).pk).filter(pk=board).aexists()

    async def get_meta(self) -> dict[str, Any]:
        return {"name": user_of(self).get_username()}

    async def on_message(self, data: str | bytes) -> None:
        """Straight to the others: nobody needs it later, so it never enters the mailbox."""
        position = read_position(data)
        if position is None:
            await self.close(BAD_REQUEST, 'expected {"x": 0…1, "y": 0…1}, with "note": id for a note')
            return
        what = f"note {position['note']}" if "note" in position else f"cursor {self.client_id}"
        position |= {"type": "moves", "client": self.client_id}
        await hub_broadcast(self.hub, position, exclude=[self.client_id], key=what, droppable=True)


class NoticeConsumer(HubConsumer):
    """The hub is the user's own, so nobody else hears what is said there. It takes nothing."""

    events = EVENTS

    async def get_hub(self) -> str:
        # Who is not logged in has none; `authorize`, which is asked next, lets in who is.
        return notices_hub(user_of(self).pk or 0)

    async def on_message(self, data: str | bytes) -> None:  # noqa: ARG002
        await self.close(BAD_REQUEST, "notices are only to be heard")


def read_position(data: str | bytes) -> dict[str, Any] | None:
    """The fields we know, or None: who sends something else is no page of ours."""
    try:
        given = json.loads(data)
        x, y, note = given["x"], given["y"], given.get("note")
        if not (0 <= x <= 1 and 0 <= y <= 1):
            return None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None
    if note is None:
        return {"x": x, "y": y}
    return {"x": x, "y": y, "note": note} if type(note) is int and note > 0 else None
