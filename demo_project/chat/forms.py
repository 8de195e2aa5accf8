"""The form at the door."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from .names import MAX_LENGTH, PATTERN, RULE


class NameField(forms.RegexField):
    """A name as ``names`` defines it, checked by the browser and again here."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            regex=re.compile(rf"\A{PATTERN}\Z"),
            max_length=MAX_LENGTH,
            error_messages={"invalid": f"Use {RULE}"},
            widget=forms.TextInput(
                attrs={
                    "pattern": PATTERN,
                    "title": RULE,
                    "autocomplete": "off",
                    "autocapitalize": "none",
                    "spellcheck": "false",
                }
            ),
            **kwargs,
        )


class JoinForm(forms.Form):
    """A name, if one likes, and a room."""

    name = NameField(required=False)
    room = NameField()

    def clean_room(self) -> str:
        room: str = self.cleaned_data["room"]
        if room in {".", ".."}:
            raise ValidationError(
                "No browser can open a room of that name: in an address “.” and “..” mean folders."
            )
        return room
