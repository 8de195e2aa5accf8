"""Letters and dead letters as text, for stores that keep text."""

from __future__ import annotations

import json

from django_hub.events import read_body
from django_hub.exceptions import UnreadableEvent
from django_hub.stores.ops import DeadLetter, Letter


def read_letter(text: str) -> Letter:
    """A mailbox entry: its position, a space, the client it is of, NUL (which no id has), its body."""
    position, _, rest = text.partition(" ")
    client_id, _, body = rest.rpartition("\0")
    return Letter(int(position), client_id, body)


def write_dead_letter(letter: DeadLetter) -> str:
    return json.dumps([letter.position, letter.body, letter.error, letter.at])


def read_dead_letter(hub: str, text: str) -> DeadLetter:
    position, body, error, at = json.loads(text)
    return DeadLetter(hub=hub, position=position, body=body, error=error, at=at)


def client_of(letter: DeadLetter) -> str:
    """The client it is of; ``""`` where it can't be read."""
    try:
        return read_body(letter.hub, letter.position, letter.body).client_id
    except UnreadableEvent:
        return ""
