"""Permissions for the admin's page. No table: the model is not managed."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = ()
    operations = (
        migrations.CreateModel(
            name="Hubs",
            fields=[("name", models.CharField(max_length=200, primary_key=True, serialize=False))],
            options={
                "verbose_name": "hub",
                "verbose_name_plural": "hubs",
                "permissions": (
                    ("view_hubs", "Can see hubs, their members and what is said in them"),
                    ("change_hubs", "Can send to hubs, kick clients, retry and drop dead letters"),
                ),
                "managed": False,
                "default_permissions": (),
            },
        ),
    )
