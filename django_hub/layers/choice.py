"""Which layer is used."""

from __future__ import annotations

import json
import weakref
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers
from django.core.exceptions import ImproperlyConfigured

from django_hub.conf import get_settings
from django_hub.layers.base import Layer
from django_hub.layers.memory import InMemoryLayer

# One for each of Channels' own objects: an in-memory layer's exchange is the whole process's.
_layers: weakref.WeakKeyDictionary[Any, Layer] = weakref.WeakKeyDictionary()


def get_layer() -> Layer:
    """The layer of DJANGO_HUB["LAYER"]. Raises `ImproperlyConfigured` if it isn't configured.

    Not Channels' `get_channel_layer()`: it answers None for any KeyError, one inside the backend included.
    """
    alias = get_settings().LAYER
    configured = channel_layers.configs
    if alias not in configured:
        begin = "Name one in DJANGO_HUB['LAYER'], or begin with" if configured else "To begin with"
        raise ImproperlyConfigured(
            f"django_hub needs the channel layer {alias!r}, and CHANNEL_LAYERS has "
            f"{', '.join(map(repr, configured)) or 'none'}. {begin}, in settings.py:\n"
            f"    CHANNEL_LAYERS = {{{json.dumps(alias)}: "
            '{"BACKEND": "channels.layers.InMemoryChannelLayer"}}'
        )
    backend = channel_layers[alias]
    layer = _layers.get(backend)
    if layer is None:
        layer = _layers[backend] = _layer_for(backend)
    return layer


def _layer_for(backend: Any) -> Layer:
    if isinstance(backend, InMemoryChannelLayer):
        return InMemoryLayer(backend)
    if type(backend).__module__ == "channels_redis.core":
        from django_hub.layers.core import CoreLayer  # Redis is an extra: it is there with this layer

        if CoreLayer.fits(backend):
            return CoreLayer(backend)
    return Layer(backend)
