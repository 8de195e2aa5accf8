"""Boards, the notes on them, and the votes on these."""

from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from .hubs import board_hub

WITHIN = [MinValueValidator(0.0), MaxValueValidator(1.0)]


class BoardQuerySet(models.QuerySet["Board"]):
    def of(self, user_id: int | None) -> "BoardQuerySet":
        """Those a user may see and change: of the user's own groups."""
        # For Django None would be a group without users.
        return self.none() if user_id is None else self.filter(group__user=user_id)


class Board(models.Model):
    name = models.CharField(max_length=60)
    group = models.ForeignKey(Group, on_delete=models.CASCADE, related_name="boards")
    #: Everyone may look, nobody may change anything.
    locked = models.BooleanField(default=False)
    #: Counts the changes, those of its notes too.
    revision = models.PositiveBigIntegerField(default=0, editable=False)

    objects = BoardQuerySet.as_manager()

    class Meta:
        ordering = ("name", "pk")

    def __str__(self) -> str:
        return self.name

    @property
    def hub(self) -> str:
        return board_hub(self.pk)


class Note(models.Model):
    board = models.ForeignKey(Board, on_delete=models.CASCADE, related_name="notes")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    text = models.TextField(max_length=280, blank=True)
    #: Where it is: 0 at the left and the top of the board, 1 at the right and the bottom.
    x = models.FloatField(default=0.5, validators=WITHIN)
    y = models.FloatField(default=0.5, validators=WITHIN)
    #: The board's at the note's last change.
    revision = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.text or "(an empty note)"

    def as_json(self) -> dict[str, Any]:
        """What pages are told of it, in the first load and after each change."""
        return {
            "id": self.pk,
            "author": self.author.get_username() if self.author else None,
            "text": self.text,
            "x": self.x,
            "y": self.y,
            "votes": [vote.user_id for vote in self.votes.all()],
            "revision": self.revision,
        }


class Vote(models.Model):
    note = models.ForeignKey(Note, on_delete=models.CASCADE, related_name="votes")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)

    class Meta:
        ordering = ("pk",)
        constraints = (models.UniqueConstraint(fields=("note", "user"), name="one_vote_a_user_and_note"),)

    def __str__(self) -> str:
        return f"{self.user} for {self.note}"
