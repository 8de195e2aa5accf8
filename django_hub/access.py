"""Who may join a hub, speak in it, and hear it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from django.core.exceptions import ImproperlyConfigured

from django_hub import closes
from django_hub.exceptions import Refused
from django_hub.hooks import require_answer


class Access:
    """The part of a `HubConsumer` that decides. All of it is asked before the client is a member, and again
    while it is one, when something changed in the rights of its user: see `docs/howto/authorize.md`."""

    #: Only who is logged in may join. False: anybody may, also without middleware that knows users.
    login_required: ClassVar[bool] = True
    #: Only a user who has this permission may join, as ``"chat.read_room"``, or all of several.
    permission_required: ClassVar[str | Sequence[str]] = ()
    #: Only who brings a `hub_ticket` may join; cookies count for nothing. For pages of other origins.
    ticket_required: ClassVar[bool] = False

    scope: Any
    #: `permission_required`, as a tuple.
    permissions: ClassVar[tuple[str, ...]] = ()
    #: None of the three hooks is the project's own.
    plain_access: ClassVar[bool] = True
    # What is known of the user's permissions, while many sockets are checked at once.
    _granted: Mapping[str, bool] = {}
    _may_send = True
    _may_receive = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        given: object = cls.permission_required
        names = [given] if isinstance(given, str) else given
        if not isinstance(names, Sequence) or not all(_is_permission(name) for name in names):
            raise ImproperlyConfigured(
                f"{cls.__name__}.permission_required is a permission as 'app_label.codename', or a list of "
                f"them; got {given!r:.80}."
            )
        cls.permissions = tuple(names)
        cls.plain_access = all(
            getattr(cls, hook) is getattr(Access, hook) for hook in ("authorize", "may_send", "may_receive")
        )

    async def authorize(self) -> bool:
        """May this client join? `hub` and `client_id` are set, and ``self.scope["user"]``.

        Default: as `login_required` and `permission_required` say; a user who is not logged in may not.
        What you write in its place decides alone: call ``await super().authorize()`` for these two.
        It is asked again while the client is a member, with its user loaded anew, when that user's rights
        changed: so ask for what can change here, and do nothing else. No: the client is closed with 4403.
        """
        known = self._known()
        if known is not None:
            return known
        user = self.scope["user"]
        unknown = [name for name in self.permissions if name not in self._granted]
        # In the thread for the database: Django keeps what it read at the user.
        return user is not None and await database_sync_to_async(user.has_perms)(unknown)

    def _known(self) -> bool | None:
        """What `authorize` says; None: its permissions must be asked for."""
        user = self.scope.get("user")
        if user is None and (self.login_required or self.permissions) and "user" not in self.scope:
            raise ImproperlyConfigured(
                f"{type(self).__name__}.authorize() finds no user in the scope. Wrap the websocket "
                "application in channels.auth.AuthMiddlewareStack, or override authorize()."
            )
        if self.login_required and not (user and user.is_authenticated):
            return False
        granted = self._granted
        if not all(granted.get(name, True) for name in self.permissions):
            return False
        return True if all(name in granted for name in self.permissions) else None

    def knows(self, user: Any, granted: Mapping[str, bool]) -> bool | None:
        """May this client stay, of which ``user`` was loaded anew? None: its hooks must be asked.

        Many sockets are checked at once: what is known needs no coroutine a hook and no time-out.
        """
        if not self.plain_access:
            return None
        self.scope["user"] = user
        self._granted = granted
        try:
            return self._known()
        finally:
            del self._granted

    async def may_send(self) -> bool:
        """May this client send? Default: yes. Asked after `authorize`, and again as that is.

        No: it hears and is seen as any member. What it sends is not taken; a client of ``hub.v1`` is told
        so of each message (``refused``, with 4403) and stays, a raw one is closed with 4403.
        """
        return True

    async def may_receive(self) -> bool:
        """May this client hear what the hub's clients hear? Default: yes. Asked as `may_send`.

        No: it gets no broadcasts, no presence and no history. What is for it alone it does get: `hub_send`
        to its client id, `send`, replies to its requests.
        """
        return True

    async def _decide(self) -> Refused | None:
        """Ask all hooks; a refusal, or None. Raises what they raise, and `TypeError`."""
        name = type(self).__name__
        if not require_answer(f"{name}.authorize", await self.authorize()):
            return Refused(closes.FORBIDDEN, "not allowed")
        self._may_send = require_answer(f"{name}.may_send", await self.may_send())
        self._may_receive = require_answer(f"{name}.may_receive", await self.may_receive())
        return None


def _is_permission(name: object) -> bool:
    return isinstance(name, str) and all(name.partition("."))
