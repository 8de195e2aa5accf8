"""Whom of a hub a broadcast is for, said as a value: it travels with the message, and each relay looks
at its own clients.

A function of a member can't travel: it costs the sender a look at all members, and the layer a list of
those it chose.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from django_hub.messages import encode_json


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Where:
    """The members whose meta has all of these: `hub_broadcast(hub, message, Where(team="red", level=3))`.

    A member that lacks a key is not meant, which is no error. Values are compared as JSON values, in the
    form in which `get_meta` gave them: 1 is 1.0 but neither "1" nor True; arrays and objects are equal as
    wholes, and a tuple is an array; None is null, not a key that is missing. Keys that are no Python names
    go as `Where(**{"is-in": "x"})`.
    """

    equals: Mapping[str, Any]

    def __init__(self, /, **equals: Any) -> None:
        if not equals:
            raise TypeError(
                "Where() says nothing of a member, so it would mean all. Name what their meta has, as in "
                'Where(team="red"), or leave the condition out.'
            )
        object.__setattr__(self, "equals", equals)

    def __hash__(self) -> int:
        # Of equal ones the same: their values may be such as have none.
        return hash(frozenset(self.equals))

    def __repr__(self) -> str:
        return f"Where({', '.join(f'{key}={value!r}' for key, value in self.equals.items())})"

    def filter(self, encoder: type[json.JSONEncoder] = json.JSONEncoder) -> Filter:
        """What travels with a broadcast. Raises `InvalidMessage` where JSON has no such values."""
        return Filter(encode_json(self.equals, encoder))


class HasMeta(Protocol):
    @property
    def meta(self) -> Mapping[str, Any]: ...


Some = TypeVar("Some", bound=HasMeta)


class Filter:
    """A `Where` as a JSON object, its text. Two of the same text choose the same.

    Raises `ValueError` for any other text.
    """

    __slots__ = ("_equals", "text")

    def __init__(self, text: str) -> None:
        try:
            equals = json.loads(text)
        except RecursionError:
            raise ValueError("a filter that is nested too deeply") from None
        if not isinstance(equals, dict) or not equals:
            raise ValueError(f"a filter is a JSON object that is not empty: {text!r:.80}")
        self.text = text
        self._equals: dict[str, Any] = equals

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Filter) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"

    def choose(self, some: Iterable[Some]) -> list[Some]:
        """Those that match, in their order."""
        # A pass for each key, and no call for each client: with ten thousand of them that is what it costs.
        chosen = list(some)
        for key, value in self._equals.items():
            if _is_flat(value):
                chosen = [each for each in chosen if each.meta.get(key, _MISSING) == value]
            # What is equal to Python may not be to JSON: True and 1.
            if isinstance(value, (dict, list)):
                chosen = [each for each in chosen if _same(each.meta.get(key), value)]
            elif isinstance(value, (int, float)):
                truth = isinstance(value, bool)
                chosen = [each for each in chosen if isinstance(each.meta[key], bool) is truth]
        return chosen


_MISSING = object()
_NUMBERS = {int, float}


def _is_flat(value: object) -> bool:
    """May `==` be asked? With values nested deeply it would end in a RecursionError."""
    if isinstance(value, dict):
        value = list(value.values())
    return not (isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value))


def _same(one: object, other: object) -> bool:
    """Are these equal as JSON values? However deep they are."""
    pairs = [(one, other)]
    for a, b in pairs:
        if isinstance(a, dict) and isinstance(b, dict):
            if a.keys() != b.keys():
                return False
            pairs.extend((value, b[key]) for key, value in a.items())
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return False
            pairs.extend(zip(a, b, strict=True))
        elif a != b or not (type(a) is type(b) or {type(a), type(b)} == _NUMBERS):
            return False
    return True
