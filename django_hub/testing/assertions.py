"""Was it sent? The `assert_` and `refute_` functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from django_hub.hubs import Hub
from django_hub.testing import watch
from django_hub.testing.records import Broadcast, Expected, Sent, is_expected, listed

_Record = TypeVar("_Record", Broadcast, Sent)


def assert_broadcast(hub: Hub | str, message: Expected) -> Broadcast:
    """`hub_broadcast` was called with this, by whomever in this process, whether anybody was there or not.

    ``message``: what was sent (`unittest.mock.ANY` may stand in it), or a function that says whether it is
    the one. Each assertion takes one broadcast for itself, the oldest, and returns it: what was broadcast
    twice can be asserted twice. A function that waits for nothing: call `drain` before, where handlers are
    to do it first. Raises `AssertionError`, showing what was broadcast instead; `RuntimeError` outside of
    `clean_hubs`.
    """
    watched = watch.current("assert_broadcast")
    name = _name(hub)
    own = [b for b in watched.broadcasts if b.hub == name]
    found = _found(own, message)
    if found is None:
        others = [b for b in watched.broadcasts if b.hub != name]
        raise AssertionError(
            f"Hub {name!r} was not sent {_told(message)}."
            + _instead(watched, {"It was sent": own, "Others were": others})
        )
    return _taken(watched, watched.broadcasts, found)


def assert_sent(client_id: str, message: Expected, hub: Hub | str | None = None) -> Sent:
    """`hub_send` or `event.reply` was called for that client, which was there; else as `assert_broadcast`.

    What a consumer sends by itself (`HubConsumer.send`) goes past the hub: see `HubCommunicator.receive`.
    """
    watched = watch.current("assert_sent")
    own = _to(watched, client_id, hub)
    found = _found(own, message)
    if found is None:
        others = [s for s in watched.sent if s not in own]
        raise AssertionError(
            f"Client {client_id!r} was not sent {_told(message)}."
            + _instead(watched, {"It was sent": own, "Others were": others})
        )
    return _taken(watched, watched.sent, found)


def refute_broadcast(hub: Hub | str, message: Expected | None = None) -> None:
    """No such broadcast, or with no ``message`` none at all, but those that were asserted.

    Raises `AssertionError`; and `RuntimeError` where something was sent into hubs since the last `drain`,
    whose answers may be still to come.
    """
    watched = _drained("refute_broadcast")
    name = _name(hub)
    found = _found([b for b in watched.broadcasts if b.hub == name], message)
    if found is not None:
        raise AssertionError(f"This was broadcast {found}" + _instead(watched, {"All": watched.broadcasts}))


def refute_sent(client_id: str, message: Expected | None = None, hub: Hub | str | None = None) -> None:
    """As `refute_broadcast`, of what one client was sent alone."""
    watched = _drained("refute_sent")
    found = _found(_to(watched, client_id, hub), message)
    if found is not None:
        raise AssertionError(f"This was sent: {found}" + _instead(watched, {"All": watched.sent}))


def _drained(asked: str) -> watch.Watch:
    watched = watch.current(asked)
    if watched.undrained:
        raise RuntimeError(
            f"{asked} can't tell yet: what was sent into hubs may not be handled. "
            "Write 'await drain()' before it."
        )
    return watched


def _to(watched: watch.Watch, client_id: str, hub: Hub | str | None) -> list[Sent]:
    name = None if hub is None else _name(hub)
    return [s for s in watched.sent if s.client_id == client_id and name in (None, s.hub)]


def _found(records: list[_Record], message: Any) -> _Record | None:
    return next((r for r in records if message is None or is_expected(r.message, message)), None)


def _taken(watched: watch.Watch, records: list[_Record], found: _Record) -> _Record:
    del records[next(place for place, record in enumerate(records) if record is found)]
    watched.asserted.append(found)
    return found


def _instead(watched: watch.Watch, lists: Mapping[str, Sequence[object]]) -> str:
    text = "".join(listed(title, records) for title, records in lists.items()) or "\nNothing was sent."
    text += listed("Asserted before", watched.asserted)
    if watched.undrained:
        text += "\nSomething was sent into hubs since the last 'await drain()': its answers may be to come."
    return text


def _told(message: Any) -> str:
    return f"what {message!r} is true for" if callable(message) else f"{message!r:.300}"


def _name(hub: Hub | str) -> str:
    return hub.name if isinstance(hub, Hub) else hub
