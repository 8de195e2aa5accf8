from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class DjangoHubConfig(AppConfig):
    name = "django_hub"
    verbose_name = "Hubs"

    def ready(self) -> None:
        from django.apps import apps

        from django_hub.checks import check_configuration, check_deployment

        checks.register(check_configuration)
        checks.register(check_deployment, deploy=True)
        if apps.is_installed("django.contrib.auth"):
            from django_hub import changes

            changes.connect()
