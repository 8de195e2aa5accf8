"""A bad line to a Redis: round trips of a store that fail, at the boundary of redis-py.

A time-out or a broken connection says nothing of what was done. So a round trip can be lost in three ways:
the call (nothing was done), the middle of it (the first half of its commands was), the reply (all was).
"""

import enum

from redis.exceptions import ConnectionError as Broken

from django_hub.exceptions import Unavailable


class Loss(enum.Enum):
    CALL = "call"
    MIDDLE = "middle"
    REPLY = "reply"


class BadLine:
    """Stands for the client of a `RedisStore`, whose every round trip is a pipeline.

    ``losses[n]`` is what becomes of the n-th round trip from now on, ``trips`` how many there were.
    """

    def __init__(self, redis):
        self.redis = redis
        self.trips = 0
        self.losses = {}

    def lose(self, loss, trip):
        self.losses[self.trips + trip] = loss

    def pipeline(self, transaction):
        pipeline = self.redis.pipeline(transaction=transaction)
        execute = pipeline.execute

        async def execute_or_fail(raise_on_error=True):
            self.trips += 1
            loss = self.losses.pop(self.trips, None)
            if loss is None:
                return await execute(raise_on_error)
            if loss is Loss.MIDDLE:
                pipeline.command_stack = pipeline.command_stack[: len(pipeline) // 2]
            if loss is not Loss.CALL and len(pipeline):
                await execute(raise_on_error=False)
            raise Broken(f"the {loss.value} was lost")

        pipeline.execute = execute_or_fail
        return pipeline

    async def aclose(self, **how):
        await self.redis.aclose(**how)


class Insistent:
    """A caller of the store as its contract wants it: what failed is asked again, as it was.

    ``repeated`` tells whether the last answer was that of a second call; ``loss`` and ``trip`` what the
    next call that changes anything is to meet.
    """

    CHANGING = frozenset(
        {"create", "destroy", "apply", "claim", "commit", "renew", "unclaimed", "beat", "reap"}
    )

    def __init__(self, store, line):
        self.store = store
        self.line = line
        self.repeated = False
        self.loss = self.trip = None

    def __getattr__(self, name):
        method = getattr(self.store, name)

        async def ask(*args, **kwargs):
            self.repeated = False
            if self.loss and name in self.CHANGING:
                self.line.lose(self.loss, self.trip)
                self.loss = None
            while True:
                try:
                    answer = await method(*args, **kwargs)
                except Unavailable:
                    self.repeated = True
                else:
                    self.line.losses.clear()
                    return answer

        return ask
