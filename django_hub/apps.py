from __future__ import annotations

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured


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
        _measure()


def _measure() -> None:
    from django_hub.conf import get_settings

    try:
        settings = get_settings()
    except ImproperlyConfigured:
        return  # the check says so
    if settings.METRICS:
        try:
            from django_hub import metrics
        except ImportError as error:
            raise _missing("METRICS", "metrics", error) from error
        metrics.start()
    if settings.TRACING:
        try:
            from django_hub import tracing
        except ImportError as error:
            raise _missing("TRACING", "otel", error) from error
        tracing.start()


def _missing(setting: str, extra: str, error: ImportError) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"DJANGO_HUB['{setting}'] needs an extra: pip install 'django-hub[{extra}]' ({error})."
    )
