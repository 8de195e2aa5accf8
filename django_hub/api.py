"""What code outside of a hub's own consumers calls: the hub_* functions.

The names and their meaning follow SWI-Prolog's ``library(http/hub)``. All are coroutines (or asynchronous
iterators); `django_hub.sync` has the same for code that blocks. A hub is given by its name or as a `Hub`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from typing import Any, TypeAlias

from django_hub import closes
from django_hub.conf import get_settings
from django_hub.delivery import find, taken
from django_hub.entries import Entry, Kind, Scope
from django_hub.events import Message, describe, updated_body
from django_hub.exceptions import InvalidBound
from django_hub.filters import Where
from django_hub.hubs import Hub, HubName
from django_hub.hubs import name_of as _name
from django_hub.jsontext import JsonText
from django_hub.limits import MOST
from django_hub.members import Member, plain_meta
from django_hub.messages import Close, Frame, Sendable, encode
from django_hub.names import (
    require_client_id,
    require_events_channel,
    require_hub_name,
    require_key,
    require_open_hub_name,
    session_of,
)
from django_hub.relay import get_relay
from django_hub.spans import sending
from django_hub.stores.ops import Outcome, Update
from django_hub.stores.registry import get_store

Condition: TypeAlias = Callable[[Member], bool]


_PAGE = 1000


async def hub_create(
    name: str,
    *,
    events: str | None = None,
    history_size: int | None = None,
    history_ttl: float | None = None,
) -> Hub:
    """Make a hub that stays without clients, and return it. Called again, it updates the options.

    ``events``: the channel whose worker handles it; None leaves what it is (``hub-events`` at first).
    Give it where consumers with another channel than that will join: the hub's own one counts.
    ``history_size``: so many of its broadcasts are kept for clients that come back, all of them until
    ``history_ttl`` seconds after the last one; 0 of either keeps none. None leaves what it is (at first
    ``HISTORY_SIZE`` and ``HISTORY_TTL``). They count from the next broadcast on.
    Hubs need no creating: a client that joins one makes it, until its last client and event are gone.
    Raises `InvalidName`, also for names that begin with ``django_hub.``, and `InvalidBound` for a history
    that can be none.
    """
    if events is not None:
        require_events_channel(events)
    if history_size is not None and (type(history_size) is not int or not 0 <= history_size <= MOST):
        raise InvalidBound(f"history_size is a whole number from 0 to {MOST}; got {history_size!r:.80}.")
    if history_ttl is not None and (type(history_ttl) not in (int, float) or not 0 <= history_ttl <= MOST):
        raise InvalidBound(f"history_ttl is a number of seconds from 0 to {MOST}; got {history_ttl!r:.80}.")
    return Hub.of(await get_store().create(require_open_hub_name(name), events, history_size, history_ttl))


async def hub_destroy(hub: HubName) -> bool:
    """End a hub: its sockets are closed with 4410, and it vanishes when their `Left` are handled.

    Events that wait are handled first; nothing is lost. False: there was no such hub.
    """
    name = _name(hub)
    if not await get_store().destroy(name):
        return False
    await hub_broadcast(name, Close(closes.DESTROYED, "the hub has ended"))
    return True


async def current_hub(name: str) -> Hub | None:
    """The hub of that name, if it is there: created, or with clients, or with events not handled yet."""
    record = await get_store().hub(require_hub_name(name))
    return Hub.of(record) if record else None


async def current_hubs() -> AsyncIterator[Hub]:
    """All hubs, in the order of their names. One that is there all the while comes exactly once."""
    after = ""
    while True:
        page = await get_store().hubs(after, _PAGE)
        for record in page:
            yield Hub.of(record)
        if len(page) < _PAGE:
            return
        after = page[-1].name


async def hub_member(hub: HubName, client_id: str) -> Member | None:
    """The client of that id, if it is in the hub."""
    return await get_store().member(_name(hub), require_client_id(client_id))


async def hub_members(hub: HubName | None = None) -> AsyncIterator[Member]:
    """The members of one hub, or of all, in the order of hub and client id.

    Read a page at a time: one that is there all the while comes exactly once, one that joins or leaves
    meanwhile may be in it or not.
    """
    if hub is None:
        async for each in current_hubs():
            async for member in hub_members(each):
                yield member
        return
    name = _name(hub)
    after = ""
    while True:
        page = await get_store().members(name, after, _PAGE)
        for member in page:
            yield member
        if len(page) < _PAGE:
            return
        after = page[-1].client_id


async def hub_send(
    client_id: str, message: Sendable | Message | list[Any], hub: HubName | None = None, *, key: str = ""
) -> bool:
    """Send to one client. False, and no exception, where there is no such client.

    ``message`` is a str (text), bytes (binary), dict or `Json` (JSON), `Close`, an event (its data: an
    echo), or a list of these, sent in their order. Without ``hub``: the newest connection of that id,
    in whatever hub. ``key``: what the message is the newest of, see `Bounds.when_slow`.
    Raises `InvalidMessage` (a TypeError) for what can't be sent, and above 16 MiB; then nothing is sent.

    What one caller sends and broadcasts to a client arrives in that order. True says that the client
    was a member and the message is on its way; if its connection is dying it comes back in
    `Left.undelivered`, as far as it had reached the client's queue.
    While the broker is away it waits, half a minute or so, and raises `Unavailable`; `asyncio.timeout`
    around the call makes that less. The message may arrive all the same.
    """
    require_client_id(client_id)
    require_key(key)
    frames = [_encoded(each) for each in (message if isinstance(message, list) else [message])]
    found = await find(client_id, None if hub is None else _name(hub))
    if found is None:
        return False
    name, address = found
    to = (address.connection,)
    sender = get_relay().sender
    entries = [Entry(name, frame, Scope.ONLY, to, key) for frame in frames]
    with sending("send", name):
        await taken([sender.direct(address.process, entry, client_id) for entry in entries])
    return True


async def hub_broadcast(
    hub: HubName,
    message: Sendable | Message,
    condition: Condition | Where | None = None,
    *,
    only: Collection[str] | None = None,
    exclude: Collection[str] = (),
    key: str = "",
    droppable: bool = False,
) -> None:
    """Send to all clients of a hub, or to those of them whom all that is given means.

    ``condition``: a `Where`, which each server compares with its own clients' meta; or a plain function of
    a member, called here, once for each member, before anything is sent: if it raises, nothing is sent.
    ``only``: none but these client ids; an empty collection is nobody. ``exclude``: all but these. Ids
    that no client has are no error. ``key``: what the message is the newest of, see `Bounds.when_slow`.

    A function costs a look at all members, and a list of those it chose on the wire; the others cost no
    look. All members see a hub's broadcasts in the same order, whoever sent them, each at most once, and
    without a hole as long as the hub's history reaches.
    ``droppable``: it costs no number and is not kept; who is away for a moment misses it, and nothing
    waits where it is lost. Right for what the next one makes old: positions, progress.
    While the broker is away it waits, half a minute or so, and raises `Unavailable`; `asyncio.timeout`
    around the call makes that less. The message may arrive all the same.
    Raises `InvalidMessage` (a TypeError) for what can't be sent, above 16 MiB, and for a `Where` of what
    is no JSON, `InvalidName` for a hub, an id or a key that can't be one, `TypeError` for what is no
    condition.
    """
    name = _name(hub)
    frame = _encoded(message)
    require_key(key)
    left_out = _client_ids("exclude", exclude)
    scope, ids = (Scope.EXCEPT if left_out else Scope.ALL), tuple(left_out)
    if only is not None:
        scope = Scope.CLIENTS
        ids = tuple(each for each in _client_ids("only", only) if each not in left_out)
    filter_ = None
    if isinstance(condition, Where):
        filter_ = condition.filter(get_settings().encoder)
    elif condition is not None:
        ids = await _connections(name, condition, scope, frozenset(ids))
        scope = Scope.CHOSEN
    if ids or scope in (Scope.ALL, Scope.EXCEPT):
        entry = Entry(name, frame, scope, ids, key, filter_)
        with sending("broadcast", name):
            await taken([get_relay().sender.broadcast(entry, numbered=not droppable)])


async def hub_update(client_id: str, meta: dict[str, Any], hub: HubName) -> bool:
    """Change a client's meta: what `Member.meta`, its events, `Where` and presence say of it from now on.

    The whole meta is replaced. `Updated` is posted in the hub's mailbox, in order with all that happens to
    the client. A client that comes back within its grace brings what `HubConsumer.get_meta` says then.
    False: there is no such client. Raises `InvalidMessage` for a meta that is no dict of JSON values, or
    has more than 64 KiB as JSON, `InvalidName`.
    """
    name = _name(hub)
    plain = plain_meta(meta, get_settings().encoder)
    member = await get_store().member(name, require_client_id(client_id))
    if member is None:
        return False
    who = describe(client_id, member.user_id, plain, member.presence)
    op = Update(
        hub=name,
        client_id=client_id,
        connection=member.connection,
        who=who,
        body=updated_body(who, time.time()),
    )
    relay = get_relay()
    if await relay.outbox.put(op) is not Outcome.DONE:
        return False
    key = session_of(member.connection) or member.connection
    entry = Entry(name, JsonText(who), Scope.ONLY, (key,), kind=Kind.WHO)
    await taken([relay.sender.direct(member.process, entry)])
    return True


def _encoded(message: object) -> Frame:
    data = message.data if isinstance(message, Message) else message
    return encode(data, get_settings().encoder)


def _client_ids(argument: str, given: object) -> dict[str, None]:
    """Each once, in their order: messages for the same clients are told by it."""
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise TypeError(
            f"{argument} takes a collection of client ids; got {given!r:.80}. Write {argument}=[client_id]."
        )
    return dict.fromkeys(map(require_client_id, given))


async def _connections(
    hub: str, condition: object, scope: Scope, client_ids: frozenset[str]
) -> tuple[str, ...]:
    """The keys of those of the members that the scope means and for whom the condition holds."""
    if not callable(condition) or isinstance(condition, type):
        raise TypeError(
            "A condition is a plain function of a member, or Where(key=value); "
            f"got {type(condition).__name__}: {condition!r:.80}."
        )
    wanted = scope is Scope.CLIENTS
    if wanted and not client_ids:
        return ()
    return tuple(
        [
            session_of(member.connection) or member.connection
            async for member in hub_members(hub)
            if (member.client_id in client_ids) is wanted and _holds(condition, member)
        ]
    )


def _holds(condition: Condition, member: Member) -> bool:
    answer: object = condition(member)
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise TypeError(
            "The condition of hub_broadcast must be a plain function; got one that must be awaited. "
            "Look up what it needs before the call."
        )
    return bool(answer)
