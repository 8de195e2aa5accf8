"""A store of the project's own: the class that DJANGO_HUB["STORE"] names."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_hub.limits import Limits
from django_hub.stores.base import Store

_SETTING = "DJANGO_HUB['STORE']"
_METHODS = sorted(
    name for name, value in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")
)


def own_store(setting: Mapping[str, Any]) -> tuple[Callable[[Limits], Store], bool]:
    """What makes the store, as `Store` says, and whether it is one for any loop. It is not made here.

    Raises `ImproperlyConfigured` for a class that can't be imported or is no store, and for options that
    it does not take.
    """
    path = setting["BACKEND"]
    try:
        backend = import_string(path)
    except (ImportError, AttributeError) as error:  # an AttributeError: no text
        raise ImproperlyConfigured(
            f"{_SETTING}['BACKEND'] is the dotted path of a store's class; got {path!r:.200}: {error}"
        ) from error
    if not isinstance(backend, type):
        raise ImproperlyConfigured(f"{_SETTING}['BACKEND'] names no class: {path!r} is {backend!r:.200}.")
    abstract: frozenset[str] = getattr(backend, "__abstractmethods__", frozenset())
    lacks = [name for name in _METHODS if name in abstract or not callable(getattr(backend, name, None))]
    if lacks:
        raise ImproperlyConfigured(
            f"{_SETTING}['BACKEND']: {path} is no store, it lacks: {', '.join(lacks)}. What each promises "
            "is in django_hub.stores.base.Store."
        )
    options = {key: value for key, value in setting.items() if key != "BACKEND"}
    try:
        inspect.signature(backend).bind(Limits(), **options)
    except TypeError as error:
        given = ", ".join(["limits", *(f"{key}=…" for key in options)])
        raise ImproperlyConfigured(f"{_SETTING}: {path}({given}) can't be called: {error}.") from error
    return partial(_made, backend, options), bool(getattr(backend, "any_loop", False))


def _made(backend: Callable[..., Store], options: Mapping[str, Any], limits: Limits) -> Store:
    store = backend(limits, **options)
    if not isinstance(getattr(store, "limits", None), Limits):
        raise ImproperlyConfigured(
            f"{_SETTING}: a {type(store).__name__} keeps no limits. Set `self.limits = limits` in __init__."
        )
    return store
