"""Letters that could not be handled."""

from __future__ import annotations

import time

from django_hub.stores.ops import DeadLetter, Letter


class Deadly(Exception):
    """Said of a letter whose handling ends its worker."""


def dead_letter(hub: str, letter: Letter, error: BaseException) -> DeadLetter:
    """The letter with what went wrong, to be kept by the commit that passes it."""
    return DeadLetter(
        hub=hub,
        position=letter.position,
        body=letter.body,
        error=_words(error),
        at=time.time(),
    )


def _words(error: BaseException) -> str:
    """What the error says, whatever it is: it may quote a client, or not be printable at all."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 (any code may be behind an error's __str__)
        text = f"{type(error).__name__}, which can't be printed"
    return text.encode(errors="backslashreplace").decode()
