"""No table: a model for what the admin asks of one, a place in its index and permissions to give."""

from __future__ import annotations

from django.db import models


class Hubs(models.Model):
    """A hub, as the admin's log names it. Hubs are in the store, and never here."""

    name = models.CharField(max_length=200, primary_key=True)

    class Meta:
        managed = False
        default_permissions = ()
        permissions = (
            ("view_hubs", "Can see hubs, their members and what is said in them"),
            ("change_hubs", "Can send to hubs, kick clients, retry and drop dead letters"),
        )
        verbose_name = "hub"
        verbose_name_plural = "hubs"

    def __str__(self) -> str:
        return self.name
