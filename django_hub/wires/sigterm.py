"""SIGTERM, heard before the server of this process hears it.

Both servers end all sockets as soon as they hear it, and have no hook before. So their handler is put off
until the clients have been told; from there on all is as the server does it, its own time-outs included.
Not taken: ASGI's ``lifespan`` (Daphne has none, uvicorn's comes after the sockets), and a command of our
own around the server's (it would not be started as its docs say).
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from django_hub.logs import get_logger

logger = get_logger(__name__)


def put_off_sigterm(work: Callable[[Any], Awaitable[None]]) -> bool:
    """Do ``work`` when SIGTERM comes, and let who listened to it hear it when that is done, or has failed.

    ``work`` gets the handler that was put off. Another SIGTERM meanwhile cancels it. False: nothing is put
    off, because this thread hears no signals, or nobody listened.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    theirs = signal.getsignal(signal.SIGTERM)
    if not callable(theirs):
        return False
    loop = asyncio.get_running_loop()
    under_way: asyncio.Task[None] | None = None
    passed = False

    def hear(number: int, frame: Any) -> None:
        # It may come anywhere in the loop's own code.
        if passed or loop.is_closed():
            theirs(number, frame)
        else:
            loop.call_soon_threadsafe(begin)

    def begin() -> None:
        nonlocal under_way
        if under_way is None:
            under_way = loop.create_task(_done(work, theirs))
            under_way.add_done_callback(pass_on)
        else:
            under_way.cancel()

    def pass_on(_: asyncio.Task[None]) -> None:
        nonlocal passed
        passed = True
        now = signal.getsignal(signal.SIGTERM)
        if now is hear:
            signal.signal(signal.SIGTERM, theirs)
            signal.raise_signal(signal.SIGTERM)
        elif callable(now) and now != theirs:
            # Somebody's own, that calls ours: to raise it would tell that one twice.
            theirs(signal.SIGTERM, None)

    signal.signal(signal.SIGTERM, hear)
    return True


async def _done(work: Callable[[Any], Awaitable[None]], theirs: Any) -> None:
    try:
        await work(theirs)
    except Exception:
        logger.exception("Clients were not told to go elsewhere; the server ends all the same")
