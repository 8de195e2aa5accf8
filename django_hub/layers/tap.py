"""A tap: takes what comes into one channel of Redis, message by message, and can be closed without loss.

A blocking pop that is cancelled loses what the broker gave it meanwhile. channels_redis' own receive copies
each message to a backup queue for that, in three more round trips. Here the pop goes on when who waits for
it is cancelled, and is ended by the broker (CLIENT UNBLOCK), which tells then whether it gave something.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis.exceptions import RedisError, ResponseError

from django_hub.endings import end

# Seconds that the broker may take to end a pop, and how often it is told.
_LAST = 1.0
_TRIES = 5


class Tap:
    """Of one loop. Raises what redis-py does; the next `take` begins anew then."""

    def __init__(self, redis: Any, key: str, block: float) -> None:
        self._redis = redis
        self._key = key
        self._block = block
        self._pop: asyncio.Task[bytes] | None = None
        self._client: Any = None
        self._client_id = 0
        self._closing = False

    async def take(self) -> bytes:
        """The oldest message, when there is one. Cancelled, it loses nothing: the next one gets it."""
        if self._pop is None:
            self._pop = asyncio.create_task(self._popped())
        try:
            message = await asyncio.shield(self._pop)
        except Exception:
            self._pop = None
            raise
        self._pop = None
        return message

    async def close(self) -> bytes | None:
        """Stop waiting; what had come, and nobody took. It goes on by itself if it is cancelled."""
        return await asyncio.shield(asyncio.create_task(self._closed()))

    async def _closed(self) -> bytes | None:
        self._closing = True
        pop, self._pop = self._pop, None
        if pop is None:
            await self._disconnect()
            return None
        for _ in range(_TRIES):
            if pop.done():
                break
            # More than once: it may be just about to wait.
            with contextlib.suppress(RedisError, OSError):
                await self._redis.client_unblock(self._client_id)
            await asyncio.wait([pop], timeout=_LAST / _TRIES)
        await end([pop])
        await self._disconnect()
        return None if pop.cancelled() or pop.exception() else pop.result()

    async def _popped(self) -> bytes:
        try:
            if self._client is None:
                self._client = self._redis.client()
                # Where an ACL denies it, a close cuts the pop off instead.
                with contextlib.suppress(ResponseError):
                    self._client_id = await self._client.client_id()
            while not self._closing:
                popped = await self._client.bzpopmin(self._key, timeout=self._block)
                if popped is not None:
                    message: bytes = popped[1]
                    return message
            raise asyncio.CancelledError
        except BaseException:
            await self._disconnect()
            raise

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()
