"""The sockets of the chat: who comes into which room, under which name."""

from urllib.parse import parse_qs

from django_hub import HubConsumer, Refused

from .names import is_name

BAD_REQUEST = 4400


class ChatConsumer(HubConsumer):
    """One websocket. What it receives goes into the mailbox; ``ChatEvents`` does the rest."""

    events = "chat-events"
    presence = True  # pages show who is here, and whose connection is lost

    async def authorize(self) -> bool:
        return True  # an open chat; the default lets only users in who are logged in

    async def get_hub(self) -> str:
        room = await super().get_hub()
        if not is_name(room):
            raise Refused(BAD_REQUEST, "bad room")
        return room

    async def get_client_id(self) -> str | None:
        names = asked_names(self.scope["query_string"])
        if not names:
            return None
        if len(names) > 1 or not is_name(names[0]):
            raise Refused(BAD_REQUEST, "bad name")
        return names[0]


def asked_names(query: bytes) -> list[str]:
    """Every ``name`` in the query. An empty one counts: it asks for something, and gets a no."""
    try:
        fields = parse_qs(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError as error:  # not UTF-8, or far too many fields
        raise Refused(BAD_REQUEST, "bad query") from error
    return fields.get("name", [])
