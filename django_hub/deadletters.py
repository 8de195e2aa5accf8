"""Letters that could not be handled."""

from __future__ import annotations

import time

from django_hub.stores.ops import DeadLetter, Letter


def dead_letter(hub: str, letter: Letter, error: BaseException) -> DeadLetter:
    """The letter with what went wrong, to be kept by the commit that passes it."""
    return DeadLetter(
        hub=hub,
        position=letter.position,
        body=letter.body,
        error=f"{type(error).__name__}: {error}",
        at=time.time(),
    )
