"""The watch: notes what a process's hubs send and where they fail, while a test looks.

One a process, from its first user to its last. The sender knows nothing of it: its methods are replaced for
that time, for a hook in it would cost every broadcast of every site.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol
from unittest import mock

from django_hub.entries import Entry, Kind
from django_hub.sender import Sender
from django_hub.sender import Sent as Sending
from django_hub.testing.records import Broadcast, Sent, broadcast_of, sent_of

_LOGGER = "django_hub"
_TRIES_AGAIN = "django_hub.listener"
# Remarks that are kept, for an error to show.
_REMARKS = 5


class Watched(Protocol):
    """A socket of a test."""

    @property
    def is_quiet(self) -> bool: ...

    def doing(self) -> str: ...

    def wake(self) -> None: ...

    async def end(self) -> BaseException | None: ...


class Watch(logging.Handler):
    """``undrained``: something was sent since the last `drain`. ``loop``: that of the test."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.loop = asyncio.get_running_loop()
        self.broadcasts: list[Broadcast] = []
        self.sent: list[Sent] = []
        self.asserted: list[object] = []
        self.undrained = False
        self.sockets: dict[Watched, None] = {}
        self.remarks: deque[str] = deque(maxlen=_REMARKS)
        self._failures: deque[BaseException] = deque()

    def emit(self, record: logging.LogRecord) -> None:
        """What the package logs of a failure it survives is, in a test, a failure of that test."""
        error = record.exc_info[1] if record.exc_info else None
        remark = f"{record.name}: {record.getMessage()}"
        # One that is tried again and again, as an application that is not routed, is told once.
        if record.levelno >= logging.ERROR and error is not None and remark not in self.remarks:
            error.add_note(remark)
            self._failures.append(error)
        if record.name == _TRIES_AGAIN or error is None:
            self.remarks.append(remark)
        # Any thread logs, and the test's loop may be over.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._wake)

    def raise_failure(self) -> None:
        """Raise the first failure that was not raised yet: the very exception, with its traceback."""
        if self._failures:
            raise self._failures.popleft()

    @property
    def has_failure(self) -> bool:
        return bool(self._failures)

    def take_failure(self) -> BaseException | None:
        return self._failures.popleft() if self._failures else None

    def _wake(self) -> None:
        for socket in self.sockets:
            socket.wake()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        broadcast, direct = Sender.broadcast, Sender.direct

        def noted_broadcast(sender: Sender, entry: Entry, *, numbered: bool = True) -> Sending:
            if entry.kind is Kind.MESSAGE:
                self.broadcasts.append(broadcast_of(entry, numbered))
            return broadcast(sender, entry, numbered=numbered)

        def noted_direct(sender: Sender, process: str, entry: Entry, client_id: str = "") -> Sending:
            # Without a client's name it is the package's own: a Close, a change of meta.
            if client_id and entry.kind is Kind.MESSAGE:
                self.sent.append(sent_of(entry, client_id))
            return direct(sender, process, entry, client_id)

        logger = logging.getLogger(_LOGGER)
        logger.addHandler(self)
        try:
            with (
                mock.patch.object(Sender, "broadcast", noted_broadcast),
                mock.patch.object(Sender, "direct", noted_direct),
            ):
                yield
        finally:
            logger.removeHandler(self)


_users: list[Watch] = []
_close: list[Callable[[], Any]] = []


def enter() -> Watch:
    """The watch, which begins with its first user; each gives it to `leave` once.

    Raises `RuntimeError` on another event loop than the first one's.
    """
    if not _in_use():
        watch = Watch()
        stack = contextlib.ExitStack()
        stack.enter_context(watch.watching())
        _close.append(stack.close)
    else:
        watch = _users[0]
        if watch.loop is not asyncio.get_running_loop():
            raise RuntimeError(
                "clean_hubs, or another HubCommunicator, was entered on another event loop; hubs are of "
                "one. With pytest-asyncio, give fixtures and tests the same: set "
                "asyncio_default_fixture_loop_scope to what asyncio_default_test_loop_scope is."
            )
    _users.append(watch)
    return watch


def leave(watch: Watch) -> None:
    if watch in _users:
        _users.remove(watch)
        if not _users:
            _close.pop()()


def current(asked: str) -> Watch:
    """Raises `RuntimeError` where nobody watches."""
    if not _in_use():
        raise RuntimeError(
            f"{asked} knows only of what happens within clean_hubs, or while a HubCommunicator is open. "
            f"Write 'async with clean_hubs(): ...' around it, or, with pytest, take the fixture clean_hubs."
        )
    return _users[0]


def _in_use() -> bool:
    if _users and _users[0].loop.is_closed():
        # A client that no block left: it is of a test that is over, and no matter of the next ones'.
        _users.clear()
        _close.pop()()
    return bool(_users)
