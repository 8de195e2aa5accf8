"""The setting DJANGO_HUB: typed, with defaults, unknown keys refused, read at use.

    DJANGO_HUB = {"PROCESS_LEASE": 15.0, "BEAT": 5.0}

Nothing is kept from the time of import, so `override_settings` just works.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_hub.limits import MOST, Limits

_LIMITS = Limits()

# The servers that there is a wire for.
WIRES = ("daphne", "uvicorn")

# What a value of each annotation is, for who wrote another.
_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "float": ("a number above 0", (int, float)),
    "int": ("a whole number above 0", (int,)),
    "float | None": ("a number above 0, or None", (int, float, type(None))),
    "int | None": ("a whole number above 0, or None", (int, type(None))),
    "str": ("a text", (str,)),
    "str | dict[str, Any] | None": ("a text, a dict, or None", (str, dict, type(None))),
    "bool": ("True or False", (bool,)),
    "bool | None": ("True, False or None", (bool, type(None))),
    "tuple[str, ...]": ("a tuple of texts", (tuple, list)),
}

_NOTHING: dict[str, Any] = {}

# Of a lease and a beat, in seconds.
_SHORTEST = 0.01

# Settings whose 0 means: none.
_ZERO = ("DRAIN", "HISTORY_SIZE", "HISTORY_TTL", "PROXIES")


@dataclass(frozen=True, slots=True)
class Settings:
    """What DJANGO_HUB may say. Times are in seconds.

    ``LAYER``: alias of the channel layer. ``STORE``: ``None`` takes the store that fits the layer
    (in-memory layer, memory store; channels_redis, its Redis); ``"memory"``, a Redis URL, or a host as in
    channels_redis' ``hosts`` say it by hand. ``{"BACKEND": "dotted.path.Class", …}`` names a store of one's
    own, which is made with all that stands beside (see `Store`).
    ``BEAT``: how often a process shows that it lives, looks for dead ones, and rings for mail nobody
    took. ``PROCESS_LEASE``: not heard of for so long, a process is dead and its clients are ``lost``.
    ``HUB_LEASE``: so long a worker may be silent before another takes its hub.
    ``BATCH``: events a worker takes of a hub at once. ``MAILBOX_LIMIT``: events waiting in one hub before
    its clients' sockets are read no further. ``DEAD_LETTERS``: kept a hub.
    ``HISTORY_SIZE``: broadcasts kept a hub for clients that come back, until ``HISTORY_TTL`` after the last
    one; 0 of either: none.
    ``MAX_CONCURRENT_HUBS``: hubs a worker handles side by side.
    ``EMBEDDED_WORKER``: run the ``channel`` application inside the server; ``None``: with the in-memory
    layer only. ``JSON_ENCODER``: dotted path of the encoder for dicts and `Json`.
    ``SHUTDOWN_GRACE``: how long a stopping server or worker may take to tidy up. ``DRAIN``: before that, on
    SIGTERM, a server takes no new clients and tells those it has to go elsewhere, spread over so many
    seconds; 0: all at once.
    ``RECHECK``: so often all logged in clients are checked whether they still may be here, beside what
    signals tell of changes; ``None``: never.
    ``METRICS``: keep Prometheus' metrics, with the extra ``metrics``; ``METRICS_TOKEN``: who brings it may
    read them, besides staff. ``TRACING``: OpenTelemetry's spans, with the extra ``otel``. Both are read
    when the process starts.
    ``WIRES``: the servers whose own `send` is gone past, straight to the client's transport; ``()``: none.
    ``CONNECTIONS_PER_USER`` and ``CONNECTIONS_PER_ADDRESS``: open sockets over all processes;
    ``HUBS_PER_USER``: different hubs. ``JOINS_PER_USER`` and ``JOINS_PER_ADDRESS``: joins at once; each
    counts for half as much ``JOINS_HALF_LIFE`` later. None: no limit. ``PROXIES``: how many stand in front
    of the servers and add to ``X-Forwarded-For``; None: not known, see `address_of`.
    """

    LAYER: str = "default"
    STORE: str | dict[str, Any] | None = None
    BEAT: float = _LIMITS.ring_again
    PROCESS_LEASE: float = _LIMITS.process_lease
    HUB_LEASE: float = _LIMITS.hub_lease
    BATCH: int = _LIMITS.batch
    MAILBOX_LIMIT: int = _LIMITS.mailbox
    DEAD_LETTERS: int = _LIMITS.dead_letters
    HISTORY_SIZE: int = _LIMITS.history_size
    HISTORY_TTL: float = _LIMITS.history_ttl
    MAX_CONCURRENT_HUBS: int = 1000
    EMBEDDED_WORKER: bool | None = None
    JSON_ENCODER: str = "django.core.serializers.json.DjangoJSONEncoder"
    SHUTDOWN_GRACE: float = 5.0
    DRAIN: float = 0.0
    METRICS: bool = False
    METRICS_TOKEN: str = ""
    TRACING: bool = False
    WIRES: tuple[str, ...] = WIRES
    CONNECTIONS_PER_USER: int | None = 100
    CONNECTIONS_PER_ADDRESS: int | None = 1000
    HUBS_PER_USER: int | None = 100
    JOINS_PER_USER: int | None = 300
    JOINS_PER_ADDRESS: int | None = 3000
    JOINS_HALF_LIFE: float = 60.0
    PROXIES: int | None = None
    RECHECK: float | None = 600.0

    @property
    def encoder(self) -> type[json.JSONEncoder]:
        return _imported_encoder(self.JSON_ENCODER)

    @property
    def limits(self) -> Limits:
        return Limits(
            process_lease=self.PROCESS_LEASE,
            hub_lease=self.HUB_LEASE,
            ring_again=self.BEAT,
            batch=self.BATCH,
            mailbox=self.MAILBOX_LIMIT,
            dead_letters=self.DEAD_LETTERS,
            history_size=self.HISTORY_SIZE,
            history_ttl=self.HISTORY_TTL,
        )


def get_settings() -> Settings:
    """DJANGO_HUB as it is now. Raises `ImproperlyConfigured`, saying what to change."""
    given = getattr(django_settings, "DJANGO_HUB", _NOTHING)
    if given is not _last.given:
        _last.settings = _read(given)
        _last.given = given
    return _last.settings


class _Last:
    """What was read, for as long as the setting is that same object. `setting_changed` would not do: an
    assignment does not send it."""

    given: Any = _NOTHING
    settings = Settings()


_last = _Last()


def _read(given: Any) -> Settings:
    if not isinstance(given, dict):
        raise ImproperlyConfigured(f"DJANGO_HUB is a dict; got {type(given).__name__}.")
    known = {field.name: field for field in fields(Settings)}
    unknown = sorted(str(key) for key in given if key not in known)
    if unknown:
        raise ImproperlyConfigured(
            f"DJANGO_HUB has unknown keys: {', '.join(unknown)}. It may have: {', '.join(sorted(known))}."
        )
    for key, value in given.items():
        require_type(f"DJANGO_HUB['{key}']", value, str(known[key].type), zero=key in _ZERO)
    result = Settings(**given)
    if result.PROCESS_LEASE < 2 * result.BEAT:
        raise ImproperlyConfigured(
            f"DJANGO_HUB['PROCESS_LEASE'] ({result.PROCESS_LEASE}) must be at least twice "
            f"DJANGO_HUB['BEAT'] ({result.BEAT}): one late beat would declare a living process dead."
        )
    for key in ("BEAT", "HUB_LEASE"):
        if getattr(result, key) < _SHORTEST:
            raise ImproperlyConfigured(
                f"DJANGO_HUB['{key}'] must be at least {_SHORTEST} (seconds), or it is over before "
                f"anybody can keep it; got {getattr(result, key)!r}."
            )
    if not all("!" <= letter <= "~" for letter in result.METRICS_TOKEN):
        raise ImproperlyConfigured(
            "DJANGO_HUB['METRICS_TOKEN'] is one word of ASCII letters, digits and signs, for it comes in a "
            "header. Make one with secrets.token_urlsafe()."
        )
    nowhere = [repr(name) for name in result.WIRES if name not in WIRES]
    if nowhere:
        raise ImproperlyConfigured(
            f"DJANGO_HUB['WIRES'] names {', '.join(nowhere)}. There are: {', '.join(map(repr, WIRES))}."
        )
    return result


def require_type(what: str, value: Any, annotation: str, *, zero: bool = False) -> None:
    """Raises `ImproperlyConfigured` for a value of another type, and for a number that is no bound.

    ``zero``: 0 is one.
    """
    kind, allowed = _KINDS[annotation]
    if zero:
        kind = kind.replace("above 0", "0 or above")
    right_type = isinstance(value, allowed)
    if annotation in ("float", "int", "float | None", "int | None") and value is not None:
        right_type = right_type and not isinstance(value, bool)
        if right_type and not (0 < value < math.inf or (zero and value == 0)):
            or_none = ", or None for no limit" if "None" in annotation else ""
            least = "0 or above" if zero else "above 0"
            raise ImproperlyConfigured(f"{what} must be {least} and finite{or_none}; got {value!r}.")
        if right_type and value > MOST:
            raise ImproperlyConfigured(f"{what} must be at most {MOST}; got {value!r}.")
    if not right_type:
        raise ImproperlyConfigured(f"{what} is {kind}; got {type(value).__name__}: {value!r}.")


@functools.lru_cache(maxsize=8)
def _imported_encoder(path: str) -> type[json.JSONEncoder]:
    try:
        encoder = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"DJANGO_HUB['JSON_ENCODER']: {error}") from error
    if not (isinstance(encoder, type) and issubclass(encoder, json.JSONEncoder)):
        raise ImproperlyConfigured(
            f"DJANGO_HUB['JSON_ENCODER'] must name a subclass of json.JSONEncoder; got {path!r}."
        )
    return encoder
