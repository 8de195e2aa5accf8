"""The store on a real broker whose time is that of the loop, and that is really restarted."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from django_hub.limits import Limits
from django_hub.stores.hosts import connect
from django_hub.stores.redis import RedisStore
from tests.live.servers import Broker
from tests.model.faults import HISTORY
from tests.model.loops import JumpingLoop
from tests.stores.test_redis_machine import LET_TIME_GO_BY

PREFIX = "model"


class _Timely:
    """Stands for the client of a `RedisStore`: before each round trip what the server keeps as a time is
    made as much older as the loop's time went on since the last."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._told = 0.0

    def pipeline(self, transaction: bool) -> Any:
        pipeline = self._redis.pipeline(transaction=transaction)
        execute = pipeline.execute

        async def execute_in_time(*args: Any, **kwargs: Any) -> Any:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, JumpingLoop)
            with loop.real():
                if (passed := loop.time() - self._told) > 0.01:
                    await self._redis.eval(LET_TIME_GO_BY, 0, PREFIX, passed)
                    self._told += passed
                return await execute(*args, **kwargs)

        pipeline.execute = execute_in_time
        return pipeline

    async def aclose(self, **how: Any) -> None:
        await self._redis.aclose(**how)


class OnBroker(RedisStore):
    """``really``: what is kept or lost is so by a restart; else by a reload of its data, or a flush."""

    def __init__(self, broker: Broker, really: bool) -> None:
        self._broker = broker
        self._really = really
        self._plain = connect({"address": broker.url, "socket_timeout": 15})
        super().__init__(_Timely(self._plain), PREFIX, Limits(history_size=HISTORY))

    async def begin(self) -> None:
        await self._do("FLUSHALL")
        # What an earlier play saved is not what this one's `put_back` finds.
        await self.save()

    async def close(self) -> None:
        await super().close()
        await self._real(self._plain.aclose(close_connection_pool=True))

    async def empty(self) -> None:
        if self._really:
            await self._restarted(keep_data=False)
        else:
            await self._do("FLUSHALL")

    async def restart(self) -> None:
        """With its data."""
        if self._really:
            await self.save()
            await self._restarted(keep_data=True)
        else:
            await self._do("DEBUG", "RELOAD")

    async def save(self) -> None:
        await self._do("SAVE")

    async def _do(self, *command: str) -> None:
        async def done() -> None:
            # Connections that a restart cut are found out by their next use.
            while True:
                with contextlib.suppress(RedisConnectionError):
                    await self._plain.execute_command(*command)
                    return

        await self._real(done())

    async def put_back(self) -> None:
        """As after a power cut: what came after `save` is gone."""
        await self._restarted(keep_data=True)

    async def _restarted(self, *, keep_data: bool) -> None:
        async def restarted() -> None:
            # So it keeps nothing that was not saved before.
            self._broker.kill9()
            await self._broker.wait()
            await self._broker.restart(keep_data=keep_data)

        # Not in a thread: the broker ends with the one that started it.
        await self._real(restarted())

    @staticmethod
    async def _real(work: Any) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, JumpingLoop)
        with loop.real():
            await work
