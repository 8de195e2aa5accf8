"""What a hub name and a client id may be, and which group stands for a hub.

A name, and a message's key, is any text of 1 to 200 characters, in any language. NUL and lone surrogates
are refused: the first is cut off by C libraries and databases, the second can't be written as UTF-8.
"""

from __future__ import annotations

import hashlib
import re
import uuid

from django_hub.exceptions import InvalidName

MAX_LENGTH = 200

# The channel whose worker handles the hubs of those that name none.
DEFAULT_EVENTS = "hub-events"

# How the names of this package's own hubs begin.
OURS = "django_hub."

# The channel of hubs whose events nobody handles: they are dropped (see `Bells`).
UNHEARD = "hub-unheard"

# Channels' own rule for group names (its `\d` and `$` let through Unicode digits and a last newline,
# which ours must not, for they'd collide), less what our prefix takes of its 99 characters.
_CHANNEL = re.compile(r"[a-zA-Z0-9\-_.]{1,99}")
_PLAIN = re.compile(r"[a-zA-Z0-9\-_.]{1,95}")


def require_hub_name(name: object) -> str:
    """``name`` itself if it can name a hub; raises `InvalidName` if not."""
    return _require(name, "hub name")


def require_open_hub_name(name: object) -> str:
    """As `require_hub_name`, for who brings clients: none of this package's own hubs (`OURS`)."""
    if require_hub_name(name).startswith(OURS):
        raise InvalidName(f"Hubs whose names begin with {OURS!r} are django_hub's own; got {name!r:.80}.")
    return str(name)


def require_client_id(client_id: object) -> str:
    """``client_id`` itself if it can name a client; raises `InvalidName` if not."""
    return _require(client_id, "client id")


def require_events_channel(channel: object) -> str:
    """``channel`` itself if a worker can listen on it; raises `InvalidName` if not."""
    if isinstance(channel, str) and _CHANNEL.fullmatch(channel):
        return channel
    raise InvalidName(
        "An events channel is named with 1 to 99 ASCII letters, digits, hyphens, underscores or periods, "
        f"as in ChannelNameRouter; got {channel!r:.80}."
    )


def require_key(key: object) -> str:
    """``key`` itself if it can be that of a message (``""``: none); raises `InvalidName` if not."""
    return "" if key == "" else _require(key, "key")


def new_client_id() -> str:
    """An id for a client that brings none: a random UUID, as 32 hexadecimal digits."""
    return uuid.uuid4().hex


def session_of(connection: str) -> str:
    """The session a connection's id belongs to, ``<session>.<what tells it from others>``; ``""``: none."""
    return connection.rpartition(".")[0]


def group_name(hub: str) -> str:
    """The channel layer's group for a hub: the name itself where Channels allows it, else a digest.

    The fourth character tells the two apart, so no name can be another one's digest.
    """
    if _PLAIN.fullmatch(hub):
        return f"hub.{hub}"
    return f"hub-{hashlib.blake2b(hub.encode(), digest_size=24).hexdigest()}"


def _require(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise InvalidName(f"A {what} is text; got {type(name).__name__}: {name!r:.80}.")
    if not 1 <= len(name) <= MAX_LENGTH:
        raise InvalidName(f"A {what} has 1 to {MAX_LENGTH} characters; got {len(name)}.")
    if "\0" in name:
        raise InvalidName(f"A {what} has no NUL character; got {name!r:.80}.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidName(
            f"A {what} is text that can be written as UTF-8; got {name!r:.80}, with a lone surrogate."
        ) from None
    return name
