"""Every change of a board: in one transaction, and told to its hub when that is committed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from django_hub.sync import hub_broadcast

from .hubs import notices_hub
from .models import Board, Note, Vote

MOST_NOTES = 60


class NotNow(Exception):
    """The board does not take this change; the text says why."""


@contextmanager
def change(board_id: int, *, though_locked: bool = False) -> Iterator[Board]:
    """A transaction in which the board is ours, with its next revision.

    One change of a board follows the other. What `tell` is given in here is sent when all is committed, and
    never if something raises: so no page shows what isn't in the database.
    """
    with transaction.atomic():
        board = Board.objects.select_for_update().get(pk=board_id)
        if board.locked and not though_locked:
            raise NotNow("The board is locked.")
        board.revision += 1
        yield board
        board.save()


def tell(hub: str, message: dict[str, Any]) -> None:
    transaction.on_commit(partial(hub_broadcast, hub, message))


def tell_note(board: Board, note: Note) -> None:
    """The whole note as it is now: whoever missed what was before needs nothing else."""
    tell(board.hub, {"type": "note", "note": note.as_json()})


def require(note: Note) -> None:
    """The note was read before the transaction: somebody may have removed it since."""
    if not Note.objects.filter(pk=note.pk).exists():
        raise NotNow("That note is gone.")


def touch(board: Board, note: Note, fields: Iterable[str] = ()) -> None:
    note.revision = board.revision
    note.save(update_fields=[*fields, "revision"])
    note.refresh_from_db()
    tell_note(board, note)


def add_note(board_id: int, author: User, note: Note) -> Note:
    with change(board_id) as board:
        if board.notes.count() >= MOST_NOTES:
            raise NotNow(f"A board has room for {MOST_NOTES} notes.")
        note.board, note.author, note.revision = board, author, board.revision
        note.save()
        tell_note(board, note)
    return note


def save_note(note: Note, fields: list[str]) -> None:
    """Save what was changed of it: somebody else may have changed the rest meanwhile."""
    with change(note.board_id) as board:
        require(note)
        touch(board, note, fields)


def remove_note(note: Note) -> None:
    with change(note.board_id) as board:
        tell(board.hub, {"type": "gone", "note": note.pk, "revision": board.revision})
        note.delete()


def vote(note: Note, user: User, *, wanted: bool) -> None:
    """A user's vote for a note, or none; as often as one asks, it counts once."""
    with change(note.board_id) as board:
        require(note)
        if wanted:
            _, new = Vote.objects.get_or_create(note=note, user=user)
            if new and note.author_id not in (None, user.pk):
                tell(
                    notices_hub(note.author_id),
                    {"type": "voted", "by": user.get_username(), "text": note.text, "board": board.name},
                )
        else:
            Vote.objects.filter(note=note, user=user).delete()
        touch(board, note)


def lock(board_id: int, *, wanted: bool) -> None:
    with change(board_id, though_locked=True) as board:
        board.locked = wanted
        tell(board.hub, {"type": "locked", "locked": wanted, "revision": board.revision})
