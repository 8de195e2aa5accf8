"""Two teams with a board each, so that there is something to see."""

from typing import Any

from django.db import migrations

NOTES = [
    ("Drag me by the bar above: everyone sees it.", 0.06, 0.1),
    ("Write here. All is saved when you leave the note.", 0.34, 0.3),
    ("Vote below for what you like.", 0.62, 0.12),
]


def make(apps: Any, schema_editor: Any) -> None:  # noqa: ARG001
    group_model = apps.get_model("auth", "Group")
    board_model, note_model = apps.get_model("board", "Board"), apps.get_model("board", "Note")
    for team, name in (("Gardeners", "The garden"), ("Cooks", "The kitchen")):
        group, _ = group_model.objects.get_or_create(name=team)
        board = board_model.objects.create(name=name, group=group)
        for text, x, y in NOTES:
            note_model.objects.create(board=board, text=text, x=x, y=y)


class Migration(migrations.Migration):
    dependencies = [("board", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
