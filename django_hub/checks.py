"""What `manage.py check` says of the configuration, before the first message finds out."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

from channels.exceptions import InvalidChannelLayerError
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from django_hub.conf import get_settings
from django_hub.layers.choice import get_layer
from django_hub.stores.registry import layer_hosts, store_host, store_maker


def check_configuration(**_: Any) -> list[checks.CheckMessage]:
    try:
        hub_settings = get_settings()
        hub_settings.encoder  # noqa: B018 (it is looked up here, and not when the first dict is sent)
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="django_hub.E004")]
    try:
        layer = get_layer()
    except (ImproperlyConfigured, InvalidChannelLayerError) as error:
        return [checks.Error(str(error), id="django_hub.E003")]
    except Exception as error:  # noqa: BLE001 (a backend raises whatever it does, for its CONFIG)
        text = f"The channel layer {hub_settings.LAYER!r} can't be made of what CHANNEL_LAYERS says"
        return [checks.Error(f"{text}: {type(error).__name__}: {error}", id="django_hub.E003")]
    found: list[checks.CheckMessage] = []
    found += _check_hosts()
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


def check_deployment(**_: Any) -> list[checks.CheckMessage]:
    """What matters where strangers come."""
    try:
        hub_settings = get_settings()
    except ImproperlyConfigured:
        return []  # `check_configuration` says it
    if hub_settings.PROXIES is not None:
        return []
    return [
        checks.Warning(
            "DJANGO_HUB['PROXIES'] is not set: behind a proxy the clients' addresses are not known, and "
            "CONNECTIONS_PER_ADDRESS and JOINS_PER_ADDRESS hold for nobody.",
            hint="Set it to the number of proxies that add to X-Forwarded-For (1 for one nginx), or to 0 "
            "where clients call the server itself.",
            id="django_hub.W003",
        )
    ]


def _stands_before(first: str, second: str) -> bool:
    names = [app.rsplit(".apps.", 1)[0] for app in settings.INSTALLED_APPS]
    return first in names and second in names and names.index(first) < names.index(second)


def _check_hosts() -> list[checks.CheckMessage]:
    """What is known to break channels_redis: see django/channels#1492 and django/channels_redis#422."""
    try:
        store_maker()
        hosts = layer_hosts() or []
        if used := [host for host in (*hosts, store_host()) if host is not None]:
            from django_hub.stores.hosts import connect  # an extra: only there with Redis

            for host in used:
                connect(host)
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="django_hub.E005")]
    except Exception as error:  # noqa: BLE001 (redis-py and channels_redis raise whatever it is)
        return [checks.Error(f"CHANNEL_LAYERS: {error}", id="django_hub.E005")]
    found: list[checks.CheckMessage] = []
    if len(hosts) > 1:
        found.append(
            checks.Error(
                f"The channel layer has {len(hosts)} hosts: messages to one process go to the wrong one "
                "about half of the time.",
                hint="Give it one host.",
                id="django_hub.E002",
            )
        )
    if hosts and _times_out_at_once() and not all(_may_block(host) for host in hosts):
        found.append(
            checks.Error(
                "redis-py 8 and newer gives up on a read after 5 seconds, which is how long channels_redis "
                "blocks: every idle process ends with a TimeoutError.",
                hint='Write the host as {"address": "redis://…", "socket_timeout": 15, '
                '"health_check_interval": 30}.',
                id="django_hub.E001",
            )
        )
    return found


def _times_out_at_once() -> bool:
    import redis

    return int(redis.__version__.split(".")[0]) >= 8


def _may_block(host: dict[str, Any]) -> bool:
    """A host whose reads may take longer than the layer's blocking ones, which take 5 seconds."""
    query = dict(parse_qsl(urlsplit(str(host.get("address", ""))).query))
    timeout = host.get("socket_timeout", query.get("socket_timeout", 5))
    return timeout is None or float(timeout) > 5
