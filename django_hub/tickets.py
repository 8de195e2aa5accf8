"""Tickets: a way in for pages of another origin, which have no cookie of ours.

The site makes one for its user, the page brings it with its websocket, and it is good once. It comes as a
subprotocol, ``hub.ticket.<ticket>`` beside ``hub.v1``: the one thing of a handshake that a browser lets a
page choose and nobody writes down. In the address it would stand in the logs of every server and proxy on
its way, and in the browser's history; in the first frame it would come after the socket was accepted and
`HubConsumer.authorize` asked, and raw clients, who have no first frame, could not bring it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

from channels.db import database_sync_to_async
from django.core import signing
from django.utils.crypto import constant_time_compare

from django_hub import closes, logins
from django_hub.exceptions import InvalidBound, Refused, Unavailable
from django_hub.hubs import HubName, name_of
from django_hub.stores.base import Store
from django_hub.tokens import login_of

PREFIX = "hub.ticket."

_SALT = "django_hub.ticket"
# A spent ticket is remembered for so many seconds more than it is good: the clocks of servers differ.
_MARGIN = 60.0


def hub_ticket(user: Any, hub: HubName, max_age: float = 60.0) -> str:
    """A ticket with which a page of another origin gets into this hub, once, as this user.

    It is good for ``max_age`` seconds, as long as the user has this password and may log in. It is signed
    with Django's ``SECRET_KEY`` and not secret otherwise; who has it can use it, so hand it out over HTTPS
    to nobody but the user. The page gives it to `hub.js` as ``connect(url, {ticket: ...})``, or to a
    `WebSocket` as the subprotocol ``"hub.ticket." + ticket``. A wrong, expired or used one is refused with
    4401. Nothing is asked or kept here, so it is the same function in `django_hub.sync`.
    Raises `InvalidName`, `InvalidBound` for a ``max_age``, `TypeError` for a user who is not logged in.
    """
    if not getattr(user, "is_authenticated", False) or user.pk is None:
        raise TypeError(f"A ticket is for a user who is logged in, and in the database; got {user!r:.80}.")
    if type(max_age) not in (int, float) or not 0 < max_age <= 24 * 3600:
        raise InvalidBound(f"max_age is in seconds, above 0, a day at most; got {max_age!r:.80}.")
    login = login_of({"user": user})
    return _signer().sign_object(
        [str(user.pk), name_of(hub), secrets.token_urlsafe(12), time.time() + max_age, login]
    )


def offered(subprotocols: Sequence[str]) -> str | None:
    """The ticket among what a client offers."""
    return next((each.removeprefix(PREFIX) for each in subprotocols if each.startswith(PREFIX)), None)


def choose(subprotocols: Sequence[str], spoken: str) -> str | None:
    """The subprotocol to answer with; ``""``: all that are offered are unknown.

    A browser takes no answer for a refusal: so one who brought nothing but a ticket, spent by now, hears it
    again."""
    if spoken in subprotocols:
        return spoken
    others = [each for each in subprotocols if not each.startswith(PREFIX)]
    if others:
        return ""
    return subprotocols[0] if subprotocols else None


async def redeem(ticket: str, hub: str, store: Store) -> Any:
    """Spend a ticket: its user. Raises `Refused`."""
    try:
        match _signer().unsign_object(ticket):
            case [str(user_id), str(of_hub), str(number), float(until), str(login)]:
                pass
            case _:
                raise _refusal("is not valid")
    except (signing.BadSignature, ValueError):
        raise _refusal("is not valid") from None
    if of_hub != hub:
        raise _refusal("is another hub's")
    left = until - time.time()
    if left <= 0:
        raise _refusal("has expired")
    user = await database_sync_to_async(logins.get_user)(user_id)
    if user is None or not constant_time_compare(login, login_of({"user": user})):
        raise _refusal("is no longer valid")
    try:
        first = await store.spend(number, secrets.token_hex(8), left + _MARGIN)
    except Unavailable:
        # It may be spent or not: the client comes with another one.
        raise Refused(closes.TRY_AGAIN_LATER, "try again later") from None
    if not first:
        raise _refusal("was used before")
    return user


def _refusal(what: str) -> Refused:
    return Refused(closes.BAD_TOKEN, f"the ticket {what}", reconnect=False)


def _signer() -> signing.Signer:
    # Not a colon, as Django has it: that is no letter of a subprotocol.
    return signing.Signer(salt=_SALT, sep=".")
