"""Where the Redis of a store is: by default, where the channel layer's is."""

from __future__ import annotations

from typing import Any

from channels_redis.utils import create_pool
from django.core.exceptions import ImproperlyConfigured
from redis.asyncio import Redis


def connect(host: dict[str, Any]) -> Redis:
    """A client for one entry of channels_redis' ``hosts``: ``address``, Sentinel, or ``host`` and ``port``.

    It connects with its first command. Raises `ImproperlyConfigured` for what is no host.
    """
    match host:
        case {"address": address} if not isinstance(address, str):
            raise _no_host(f"its address is a text; got {type(address).__name__}")
        case {} if not host:
            raise _no_host("it is empty")
    try:
        pool = create_pool({**host, "decode_responses": True})
        # Not connected: so an option that is misspelt is found here, and not by the first client.
        pool.make_connection()
    except (ValueError, TypeError, KeyError) as error:
        raise _no_host(f"{type(error).__name__}: {error}") from error
    return Redis(connection_pool=pool)


def _no_host(why: str) -> ImproperlyConfigured:
    # It is told what is wrong and not which address: there may be a password in it.
    return ImproperlyConfigured(
        f"A Redis host, of the channel layer or of DJANGO_HUB['STORE'], is none: {why}. "
        'Write it as {"address": "redis://localhost:6379/0", "socket_timeout": 15}.'
    )
