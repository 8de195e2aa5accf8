"""What `manage.py check` says of the configuration, before the first message finds out."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from django_hub.conf import get_settings
from django_hub.layer import get_layer
from django_hub.stores.registry import store_host


def check_configuration(**_: Any) -> list[checks.CheckMessage]:
    try:
        hub_settings = get_settings()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="django_hub.E004")]
    try:
        layer = get_layer()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="django_hub.E003")]
    found: list[checks.CheckMessage] = []
    try:
        store_host()
    except ImproperlyConfigured as error:
        found.append(checks.Error(str(error), id="django_hub.E005"))
    if layer.in_memory and hub_settings.EMBEDDED_WORKER is False:
        found.append(
            checks.Warning(
                "The in-memory channel layer reaches its own process only: with "
                "DJANGO_HUB['EMBEDDED_WORKER'] = False no event will ever be handled.",
                hint="Set CHANNEL_LAYERS to channels_redis to run workers beside the server, or leave "
                "EMBEDDED_WORKER out: the server then handles the events itself.",
                id="django_hub.W001",
            )
        )
    if _stands_before("channels", "django_hub"):
        found.append(
            checks.Warning(
                "'channels' stands before 'django_hub' in INSTALLED_APPS: 'manage.py runworker' is then "
                "Channels' own.",
                hint="Put 'django_hub' before 'channels'.",
                id="django_hub.W002",
            )
        )
    return found


def _stands_before(first: str, second: str) -> bool:
    names = [app.rsplit(".apps.", 1)[0] for app in settings.INSTALLED_APPS]
    return first in names and second in names and names.index(first) < names.index(second)
