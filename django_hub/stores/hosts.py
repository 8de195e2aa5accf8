"""Where the Redis of a store is: by default, where the channel layer's is."""

from __future__ import annotations

from typing import Any

from channels_redis.utils import create_pool
from redis.asyncio import Redis


def connect(host: dict[str, Any]) -> Redis:
    """A client for one entry of channels_redis' ``hosts``: ``address``, Sentinel, or ``host`` and ``port``.

    It connects with its first command.
    """
    return Redis(connection_pool=create_pool({**host, "decode_responses": True}))
