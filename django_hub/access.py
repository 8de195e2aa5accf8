"""Who may join a hub, speak in it, and hear it: what a consumer's hooks say of its client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from channels.db import database_sync_to_async
from django.core.exceptions import ImproperlyConfigured

from django_hub import closes
from django_hub.exceptions import Refused
from django_hub.hooks import require_answer

_NOTHING: Mapping[str, bool] = {}


class Guarded(Protocol):
    """A consumer, as far as it decides."""

    login_required: ClassVar[bool]
    permissions: ClassVar[tuple[str, ...]]
    scope: Any

    async def authorize(self) -> bool: ...

    async def may_send(self) -> bool: ...

    async def may_receive(self) -> bool: ...


class Access:
    """What one client may, as its consumer said when it was asked last.

    It is given the consumer with each question, and holds it not: the consumer holds this.
    """

    __slots__ = ("_granted", "may_receive", "may_send")

    def __init__(self) -> None:
        # What is known of the user's permissions, while many sockets are checked at once.
        self._granted = _NOTHING
        self.may_send = True
        self.may_receive = True

    async def ask(self, consumer: Guarded, granted: Mapping[str, bool] = _NOTHING) -> Refused | None:
        """Ask all its hooks; a refusal, or None. Raises what they raise, and `TypeError`.

        ``granted``: what is known of its user's permissions. The others are asked for.
        """
        name = type(consumer).__name__
        self._granted = granted
        try:
            if not require_answer(f"{name}.authorize", await consumer.authorize()):
                return Refused(closes.FORBIDDEN, "not allowed")
            self.may_send = require_answer(f"{name}.may_send", await consumer.may_send())
            self.may_receive = require_answer(f"{name}.may_receive", await consumer.may_receive())
        finally:
            self._granted = _NOTHING
        return None

    async def by_default(self, consumer: Guarded) -> bool:
        """What ``authorize`` says where it is not the project's own."""
        known = self.known(consumer, self._granted)
        if known is not None:
            return known
        user = consumer.scope["user"]
        unknown = [name for name in consumer.permissions if name not in self._granted]
        # In the thread for the database: Django keeps what it read at the user.
        return user is not None and await database_sync_to_async(user.has_perms)(unknown)

    @staticmethod
    def known(consumer: Guarded, granted: Mapping[str, bool]) -> bool | None:
        """What `by_default` says; None: its permissions must be asked for."""
        user = consumer.scope.get("user")
        permissions = consumer.permissions
        if user is None and (consumer.login_required or permissions) and "user" not in consumer.scope:
            raise ImproperlyConfigured(
                f"{type(consumer).__name__}.authorize() finds no user in the scope. Wrap the websocket "
                "application in channels.auth.AuthMiddlewareStack, or override authorize()."
            )
        if consumer.login_required and not (user and user.is_authenticated):
            return False
        if not all(granted.get(name, True) for name in permissions):
            return False
        return True if all(name in granted for name in permissions) else None


def require_permissions(cls: str, given: object) -> tuple[str, ...]:
    """``permission_required`` of this class, as a tuple. Raises `ImproperlyConfigured`."""
    names = [given] if isinstance(given, str) else given
    if not isinstance(names, Sequence) or not all(_is_permission(name) for name in names):
        raise ImproperlyConfigured(
            f"{cls}.permission_required is a permission as 'app_label.codename', or a list of "
            f"them; got {given!r:.80}."
        )
    return tuple(names)


def _is_permission(name: object) -> bool:
    return isinstance(name, str) and all(name.partition("."))
