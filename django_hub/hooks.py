"""Hooks: the methods of a consumer that a project writes, and we await."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable
from typing import Final

#: So long, in seconds, those that decide on a client may take together.
DECIDED_WITHIN: Final = 10.0


def require_async(cls: type, names: Iterable[str]) -> None:
    """Raises `TypeError` for a method of these that can't be awaited: called, it would fail each time."""
    for name in names:
        if not inspect.iscoroutinefunction(getattr(cls, name)):
            raise TypeError(f"{cls.__name__}.{name} must be 'async def'.")


def is_our_end(error: BaseException) -> bool:
    """Is it the cancellation of this task? Any other is a hook's failure: it awaited what was cancelled."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def require_answer(hook: str, answer: object) -> bool:
    """What the hook said. Raises `TypeError` for neither True nor False: a coroutine that was not awaited
    is true, and so is ``"no"``."""
    if isinstance(answer, bool):
        return answer
    raise _wrong(hook, answer, "True or False", "bool")


def require_text(hook: str, answer: object) -> str:
    """What the hook said. Raises `TypeError` for no text: that is the application's slip, of which its
    client, as of a bad name in a url, could not know."""
    if isinstance(answer, str):
        return answer
    raise _wrong(hook, answer, "text", "str")


def _wrong(hook: str, answer: object, expected: str, kind: str) -> TypeError:
    if inspect.iscoroutine(answer):
        answer.close()
    return TypeError(
        f"{hook}() must return {expected}; got {type(answer).__name__}: {answer!r:.80}. "
        f"Is an 'await' missing, or a {kind}(...)?"
    )
