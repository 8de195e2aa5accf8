"""The Lua scripts of the Redis store, and how they are run: by their digest, many in one round trip."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis import exceptions as redis_errors
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from django_hub.exceptions import Damaged, Unavailable

# What is wrong, by what redis-py says, and what to do about it. The first that fits is told.
_HINTS: tuple[tuple[type[BaseException], str], ...] = (
    (AuthenticationError, "it refuses the user name or password; correct them in the host's settings"),
    (BusyLoadingError, "it is loading its data, and will answer when it has"),
    (ReadOnlyError, "it is a replica, or became one; the address must be the primary's (use Sentinel)"),
    (OutOfMemoryError, "it is at its maxmemory; raise it, and keep 'maxmemory-policy noeviction'"),
    (redis_errors.TimeoutError, "it did not answer in time (socket_timeout)"),
    (redis_errors.ConnectionError, "there is no connection; is it running, and is the address right?"),
    (OSError, "there is no connection; is it running, and is the address right?"),
)

# What a server that can't do it now says: by the word its answer begins with, and by redis-py's exception,
# for some of its series take the word away where they have one.
_NOT_NOW = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "TRYAGAIN")
_NOT_NOW_ERRORS = (ClusterDownError, MasterDownError, TryAgainError)


_ALONE = ("beat", "enter", "bury", "visit", "survey")
_OF_LOGS = ("publish", "history", "position", "told")


@cache
def source(name: str) -> str:
    """A script's text: those of a hub, and of its logs, begin with what these share; others stand alone."""
    folder = files("django_hub.stores") / "lua"
    shared = ["hub", "log"] if name in _OF_LOGS else [] if name in _ALONE else ["hub"]
    return "".join((folder / f"{part}.lua").read_text() for part in (*shared, name))


@cache
def digest(name: str) -> str:
    # The digest is the server's name for a script, and no secret.
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()


class Scripts:
    """Runs pipelines that call scripts, and loads the scripts a server does not have."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._used: set[str] = set()

    def call(self, pipeline: Pipeline, name: str, keys: Sequence[str], *args: str | int) -> None:
        """Add a call to a pipeline."""
        self._used.add(name)
        pipeline.evalsha(digest(name), len(keys), *keys, *args)

    async def ask(self, *command: str | int) -> Any:
        """The answer to one plain command. Raises `Unavailable`."""
        (answer,) = await self.run(lambda pipeline: pipeline.execute_command(*command))
        return answer

    async def run(self, fill: Callable[[Pipeline], object]) -> list[Any]:
        """Send what ``fill`` puts into a pipeline, in one round trip, and return the answers.

        A server that was flushed or replaced lacks scripts: they are loaded, and what lacked them is sent
        again. Raises `Unavailable` and `Damaged`.
        """
        answers = await self.run_each(fill)
        for answer in answers:
            if isinstance(answer, Damaged):
                raise answer
        return answers

    async def run_each(self, fill: Callable[[Pipeline], object]) -> list[Any]:
        """As `run`, with `Damaged` in the place of the answers that are so."""
        # No MULTI: each script is atomic by itself, and they need not be so together.
        pipeline = self._redis.pipeline(transaction=False)
        fill(pipeline)
        answers = await _executed(pipeline)
        if any(isinstance(answer, NoScriptError) for answer in answers):
            await self._load()
            fill(pipeline)
            # Not the scripts that were carried out: of who is to be woken they tell once. A server has some
            # of the scripts where another process, of an older version, has loaded its own.
            commands = zip(pipeline.command_stack, answers, strict=True)
            due = [
                not _is_script(command) or isinstance(answer, NoScriptError) for command, answer in commands
            ]
            pipeline.command_stack = list(itertools.compress(pipeline.command_stack, due))
            later = iter(await _executed(pipeline))
            answers = [next(later) if again else answer for again, answer in zip(due, answers, strict=True)]
        answers = [_told(answer) if isinstance(answer, Exception) else answer for answer in answers]
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, Damaged):
                raise answer
        return answers

    async def _load(self) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for name in self._used:
            pipeline.script_load(source(name))
        for answer in await _executed(pipeline):
            if isinstance(answer, Exception):
                raise _told(answer)


async def _executed(pipeline: Pipeline) -> list[Any]:
    """The answers, errors among them. Raises `Unavailable` where nothing came back."""
    try:
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
    except (RedisError, OSError, TimeoutError) as error:
        raise _told(error) from error
    return answers


def _is_script(command: Any) -> bool:
    """Of a pipeline's ``command_stack``: words and options."""
    return bool(command[0][0] == "EVALSHA")


def _told(error: Exception) -> Exception:
    """What an error means for who asked."""
    for kind, hint in _HINTS:
        if isinstance(error, kind):
            return Unavailable(f"Redis: {hint} ({error}).")
    text = str(error)
    if isinstance(error, _NOT_NOW_ERRORS) or text.startswith(_NOT_NOW):
        return Unavailable(f"Redis: it can't do that now ({error}).")
    if isinstance(error, ResponseError) and ("WRONGTYPE" in text or "user_script" in text):
        return Damaged(
            "Redis: what is under a key of ours is not ours. Does something else write to keys that begin "
            f"with our prefix? Give it, or the channel layer, another one, and delete such keys ({error})."
        )
    return error
