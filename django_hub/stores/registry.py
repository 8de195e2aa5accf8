"""Which store this process uses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from channels.layers import channel_layers
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_hub.conf import get_settings
from django_hub.layers.choice import get_layer
from django_hub.limits import Limits
from django_hub.loops import PerLoop
from django_hub.stores.base import Store
from django_hub.stores.memory import MemoryStore
from django_hub.stores.own import own_store

# Plain process-wide objects, not Django's connection handler: that gives sibling tasks different ones.
_shared: list[Store] = []
# A connection to Redis belongs to the loop on which it was made.
_by_loop: PerLoop[Store] = PerLoop()


def get_store() -> Store:
    """The store of DJANGO_HUB["STORE"], or the one that fits the channel layer: see `Settings`.

    Raises `ImproperlyConfigured`, saying what to change.
    """
    if _shared:
        return _shared[0]
    make, any_loop = store_maker()
    if any_loop:
        _shared.append(make(get_settings().limits))
        return _shared[0]
    return _by_loop.get(lambda: make(get_settings().limits))


def store_maker() -> tuple[Callable[[Limits], Store], bool]:
    """What makes the store, and whether that is one for any loop. Raises `ImproperlyConfigured`."""
    setting = get_settings().STORE
    if isinstance(setting, dict) and "BACKEND" in setting:
        return own_store(setting)
    host = store_host()
    if host is None:
        return MemoryStore, MemoryStore.any_loop
    return partial(_redis_store, host), False


def store_host() -> dict[str, Any] | None:
    """Where the store's Redis is, as in channels_redis' ``hosts``; None for another store."""
    settings = get_settings()
    match settings.STORE:
        case "memory" | {"BACKEND": _}:
            return None
        case str() as address if address.partition("://")[0] in ("redis", "rediss", "unix"):
            return {"address": address}
        case str() as unknown:
            raise ImproperlyConfigured(
                "DJANGO_HUB['STORE'] is 'memory', a URL (redis://, rediss://, unix://), a host as in "
                f"channels_redis' hosts, or a dict with BACKEND, the path of a class; got {unknown!r}."
            )
        case dict() as host:
            return host
    if get_layer().in_memory:
        return None
    hosts = layer_hosts()
    if hosts is None:
        raise ImproperlyConfigured(
            f"No store fits the channel layer {settings.LAYER!r}, which is neither the in-memory one nor "
            "channels_redis. Say where the store's Redis is: "
            'DJANGO_HUB = {"STORE": {"address": "redis://localhost:6379/0", "socket_timeout": 15}}.'
        )
    return hosts[0]


def layer_hosts() -> list[dict[str, Any]] | None:
    """The hosts of the channel layer, if it is channels_redis'."""
    config = _layer_settings()
    if not str(config.get("BACKEND", "")).startswith("channels_redis."):
        return None
    from channels_redis.utils import decode_hosts  # an extra: only there with Redis

    hosts: list[dict[str, Any]] = decode_hosts(config.get("CONFIG", {}).get("hosts"))
    return hosts


def forget_stores() -> None:
    """Begin anew: the next `get_store` makes a new one. For tests, and for changed settings."""
    _shared.clear()
    _by_loop.clear()


def _redis_store(host: dict[str, Any], limits: Limits) -> Store:
    try:
        from django_hub.stores.hosts import connect
        from django_hub.stores.redis import RedisStore
    except ImportError as error:
        raise ImproperlyConfigured(
            f"The Redis store needs redis and channels_redis: pip install 'django-hub[redis]' ({error})."
        ) from error
    # Deployments that share a Redis tell their layers apart by this prefix; so are their hubs.
    prefix = _layer_settings().get("CONFIG", {}).get("prefix", "asgi")
    return RedisStore(connect(host), f"{prefix}:hub", limits)


def _layer_settings() -> dict[str, Any]:
    settings: dict[str, Any] = channel_layers.configs[get_settings().LAYER]
    return settings


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("DJANGO_HUB", "CHANNEL_LAYERS"):
        forget_stores()


setting_changed.connect(_forget, dispatch_uid="django_hub.stores")
