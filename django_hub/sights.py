"""Sights: what a person sees of hubs, as dicts of JSON values, from the store and the relays.

Each is bounded: at most `SHOWN` hubs, or members of one hub, however many there are.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

from django_hub import presence
from django_hub.answers import CLIENT
from django_hub.events import Event, Left, Lost, Message, read_beginning, read_body
from django_hub.exceptions import UnreadableEvent
from django_hub.members import Member
from django_hub.names import require_hub_name, session_of
from django_hub.questions import Questions
from django_hub.stores.base import Store
from django_hub.stores.ops import DeadLetter
from django_hub.stores.survey import Handled, HubSurvey

T = TypeVar("T")

SHOWN = 50
# Relays asked, hubs with mail looked at, dead letters shown.
_RELAYS = 200
_BUSY = 500
_DEAD = 20
# Seconds for which the largest hubs are not looked for anew, and for which a rate stands: whoever looks at
# something else that it is a part of is told the same, and not what came since.
_LARGEST = 10.0
_STANDS = 0.5
_TEXT = 500


@dataclass(frozen=True, slots=True)
class Sight:
    """What is looked at: one ``hub``, or, where it is ``""``, all those whose name begins with ``search``,
    in the order of their names; where that is ``""``, too, and not ``by_name``, the busiest. ``after``: the
    page behind this name or client id. The busiest have none: their order is another each second."""

    hub: str = ""
    search: str = ""
    after: str = ""
    by_name: bool = False

    @classmethod
    def read(cls, value: object) -> Sight:
        """Raises `ValueError` for what is none."""
        match value:
            case {"hub": str(hub), "search": str(search), "after": str(after), "by_name": bool(by_name)}:
                for name in (hub, search, after):
                    if name:
                        require_hub_name(name)
                return cls(hub, search, after, by_name)
        raise ValueError('expected {"hub": text, "search": text, "after": text, "by_name": bool}')


class Viewer:
    """Sees, and remembers from one look to the next what rates are made of."""

    def __init__(self, store: Store, questions: Questions) -> None:
        self._store = store
        self._questions = questions
        self._largest: list[str] = []
        self._looked = 0.0
        self._counts: dict[tuple[str, str], tuple[float, int, float]] = {}

    async def see(self, sight: Sight) -> dict[str, Any]:
        """Raises `Unavailable`."""
        return await (self._hub(sight) if sight.hub else self._overview(sight))

    async def _overview(self, sight: Sight) -> dict[str, Any]:
        store = self._store
        processes = await store.processes(_RELAYS)
        named = bool(sight.search or sight.after or sight.by_name)
        now = time.monotonic()
        names: list[str]
        following = ""
        if named:
            names, following = await self._named(sight)
        else:
            names = list(dict.fromkeys([*await store.busy(_BUSY), *self._largest]))
        states = await store.survey(names[: _BUSY + SHOWN])
        if not named:
            if len([s for s in states if s.there]) < SHOWN:
                known = set(names)
                states += [state for state in await store.survey_page("", SHOWN) if state.name not in known]
            states = sorted(states, key=lambda state: (-state.mail, -state.members, state.name))
        states = [state for state in states if state.there or state.error or state.dead_letters][:SHOWN]
        shown = [state.name for state in states]
        largest = not named and now - self._looked > _LARGEST
        answers = await self._questions.ask({each: ["hubs", shown, largest] for each in processes})
        if largest:
            self._looked = now
            self._largest = [name for answer in answers.values() for name in answer["largest"]][:_BUSY]
        totals = await store.totals()
        return {
            "view": "hubs",
            "at": time.time(),
            "totals": {
                **asdict(totals),
                "servers": len(processes),
                "silent": len(processes) - len(answers),
                "rate": sum(self._rate(p, "", a["messages"]) for p, a in answers.items()),
            },
            "hubs": [self._row(state, at, answers) for at, state in enumerate(states)],
            "next": following,
            "rest": 0 if named or len(states) < SHOWN else max(0, totals.hubs - SHOWN),
            # So many of those with mail were looked at, where that are not all.
            "of": _BUSY if not named and totals.with_mail > _BUSY else 0,
        }

    async def _named(self, sight: Sight) -> tuple[list[str], str]:
        exact = None
        if sight.search and not sight.after:
            exact = await self._store.hub(sight.search)
        return _paged(
            [exact.name] if exact else [],
            [hub.name for hub in await _begun(self._store.hubs, lambda hub: hub.name, sight)],
            str,
        )

    def _row(self, state: HubSurvey, at: int, answers: dict[str, Any]) -> dict[str, Any]:
        came = sum(self._rate(p, state.name, answer["of"][at]) for p, answer in answers.items())
        return {**asdict(state), "in": came, "out": self._rate("", state.name, state.seq)}

    async def _hub(self, sight: Sight) -> dict[str, Any]:
        store = self._store
        (state,) = await store.survey([sight.hub])
        if state.error:
            # Whatever else is asked of it fails, too.
            row = {**asdict(state), "in": 0.0, "out": 0.0}
            nothing = {"members": [], "next": "", "dead": [], "silent": 0}
            return {"view": "hub", "at": time.time(), "state": row, **nothing}
        exact = None
        if sight.search and not sight.after:
            exact = await store.member(sight.hub, sight.search)
        found = await _begun(partial(store.members, sight.hub), lambda member: member.client_id, sight)
        members, following = _paged([exact] if exact else [], found, lambda member: member.client_id)
        processes = await store.processes(_RELAYS)
        answers = await self._questions.ask({each: ["hubs", [sight.hub], False] for each in processes})
        details = await self._details(sight.hub, members)
        letters = await store.dead_letters(sight.hub) if state.dead_letters else []
        return {
            "view": "hub",
            "at": time.time(),
            "silent": len(processes) - len(answers),
            "state": self._row(state, 0, answers),
            "members": [_shown(m) | details.get(m.connection, _NOTHING) for m in members],
            "next": following,
            "dead": [dead_letter(letter) for letter in reversed(letters[-_DEAD:])],
        }

    async def _details(self, hub: str, members: Sequence[Member]) -> dict[str, dict[str, Any]]:
        """By connection what its relay says of it."""
        at: dict[str, list[str]] = {}
        for member in members:
            if member.state == "online":
                at.setdefault(member.process, []).append(member.connection)
        questions = {
            process: ["clients", hub, [session_of(each) or each for each in connections]]
            for process, connections in at.items()
        }
        answers = await self._questions.ask(questions)
        return {
            connection: dict(zip(CLIENT, answer, strict=True))
            for process, told in answers.items()
            for connection, answer in zip(at[process], told, strict=True)
            if answer is not None
        }

    def _rate(self, process: str, name: str, count: int) -> float:
        now = time.monotonic()
        before, last, rate = self._counts.pop((process, name), (now, count, 0.0))
        if now - before >= _STANDS:
            rate = round(max(0, count - last) / (now - before), 2)
            before, last = now, count
        self._counts[process, name] = before, last, rate
        while len(self._counts) > 20 * SHOWN * max(1, _RELAYS // 10):
            del self._counts[next(iter(self._counts))]
        return rate


async def _begun(
    page: Callable[[str, int], Awaitable[Sequence[T]]], name: Callable[[T], str], sight: Sight
) -> list[T]:
    """What follows in the order of names and begins as it is looked for; one more than is shown, or all."""
    found: list[T] = []
    after = max(sight.after, sight.search)
    # A page may be short without being the last; only one with nothing in it is that.
    while len(found) <= SHOWN and (some := await page(after, SHOWN + 1)):
        # The order of names is that of their characters: those that begin alike are together.
        alike = [each for each in some if name(each).startswith(sight.search)]
        found += alike
        if len(alike) < len(some):
            break
        after = name(some[-1])
    return found


def _paged(exact: list[T], found: list[T], name: Callable[[T], str]) -> tuple[list[T], str]:
    """One page, and what the next is after; ``""``: there is none."""
    every = [*exact, *found]
    shown = every[:SHOWN]
    return shown, name(shown[-1]) if len(every) > SHOWN else ""


_NOTHING: dict[str, Any] = dict.fromkeys(CLIENT) | {"address": ""}


def _shown(member: Member) -> dict[str, Any]:
    return {
        **presence.shown(member),
        "since": member.at,
        "server": member.process,
        "hub_v1": bool(session_of(member.connection)),
    }


def dead_letter(letter: DeadLetter) -> dict[str, Any]:
    """With the beginning of what it was about. The position, as text: JavaScript has no such numbers."""
    return {
        "position": str(letter.position),
        "at": letter.at,
        "error": letter.error[:_TEXT],
        **told(letter.hub, letter.position, letter.body),
    }


def handled(hub: str, item: Handled) -> dict[str, Any]:
    """As `dead_letter`, of an event that was handled."""
    return {
        "position": str(item.position),
        "failed": item.failed,
        "at": item.position / 1_000_000,
        **told(hub, item.position, item.body),
        "client": item.client_id,
    }


def told(hub: str, position: int, body: str) -> dict[str, Any]:
    """What an event says, shortly; also of a body that was cut (`Handled`)."""
    try:
        event: Event = read_body(hub, position, body)
    except UnreadableEvent:
        return _told_of_beginning(body)
    match event:
        case Message(data=str(data)):
            text = data[:_TEXT]
        case Message(data=data):
            text = f"{len(data)} bytes"
        case Left() | Lost():
            text = _ending(event.reason, event.code)
        case _:
            text = ""
    return {"kind": type(event).__name__.lower(), "client": event.client_id, "text": text}


def _told_of_beginning(body: str) -> dict[str, Any]:
    try:
        kind, client, *values = read_beginning(body)
    except UnreadableEvent:
        return {"kind": "?", "client": "", "text": body[:_TEXT]}
    match kind, values:
        case "message", [_, _, _, _, str(data), *_]:
            text = data[:_TEXT]
        case "message", [_, _, _, _]:
            text = "bytes, too many to count"
        case (("left" | "lost"), [_, _, _, _, str(reason), code, *_]):
            text = _ending(reason, code)
        case _:
            text = ""
    return {"kind": kind, "client": client, "text": text}


def _ending(reason: str, code: object) -> str:
    return reason if code is None else f"{reason} {code}"
