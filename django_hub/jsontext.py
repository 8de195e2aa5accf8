"""Text that is JSON."""

from __future__ import annotations


class JsonText(str):
    """A text frame that is JSON because its message was a JSON value, and not because it looks like it.

    To a raw client it is text as any; in an envelope (`envelopes`) it stands as the value it is.
    """

    __slots__ = ()
