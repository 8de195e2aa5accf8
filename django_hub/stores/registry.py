"""Which store this process uses."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_hub.conf import get_settings
from django_hub.layer import get_layer
from django_hub.stores.base import Store
from django_hub.stores.memory import MemoryStore

# A plain dict and not Django's connection handler: that one gives sibling tasks different objects.
_stores: dict[str, Store] = {}


def get_store() -> Store:
    """The process's store: DJANGO_HUB["STORE"], or the one that fits the channel layer."""
    kind = get_settings().STORE or ("memory" if get_layer().in_memory else None)
    if kind != "memory":
        raise ImproperlyConfigured(
            f"DJANGO_HUB['STORE'] is {kind!r}; this version knows 'memory', for one process."
        )
    if kind not in _stores:
        _stores[kind] = MemoryStore(get_settings().limits)
    return _stores[kind]


def forget_stores() -> None:
    """Begin anew: the next `get_store` makes a new one. For tests, and for changed settings."""
    _stores.clear()


def _forget(*, setting: str, **_: Any) -> None:
    if setting in ("DJANGO_HUB", "CHANNEL_LAYERS"):
        forget_stores()


setting_changed.connect(_forget, dispatch_uid="django_hub.stores")
