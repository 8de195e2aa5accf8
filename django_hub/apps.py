from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class DjangoHubConfig(AppConfig):
    name = "django_hub"
    verbose_name = "Hubs"

    def ready(self) -> None:
        from django.apps import apps

        from django_hub.checks import check_configuration

        checks.register(check_configuration)
        if apps.is_installed("django.contrib.auth"):
            from django_hub import changes

            changes.connect()
