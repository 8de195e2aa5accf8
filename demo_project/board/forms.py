"""What pages may send."""

from typing import Any

from django import forms
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError

from demo_project.chat.forms import NameField

from .models import Note


class EnterForm(forms.Form):
    """Who comes, and with which team. A demo: there is no password, whoever gives a name has it."""

    name = NameField()
    team = forms.ModelChoiceField(Group.objects.filter(boards__isnull=False).distinct(), empty_label=None)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        user = User.objects.filter(username=name).first()
        # The accounts of people who have a password are theirs.
        if user and (user.has_usable_password() or user.is_staff or not user.is_active):
            raise ValidationError("That name is taken.")
        return name

    def save(self) -> User:
        user, _ = User.objects.get_or_create(
            username=self.cleaned_data["name"], defaults={"password": make_password(None)}
        )
        user.groups.add(self.cleaned_data["team"])
        return user


class NoteForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's own takes none
    """A note, or of one that is there what is to be changed."""

    class Meta:
        model = Note
        fields = ("text", "x", "y")

    def __init__(self, data: dict[str, Any], instance: Note) -> None:
        super().__init__(data, instance=instance)
        for name in set(self.fields) - set(data):
            del self.fields[name]
