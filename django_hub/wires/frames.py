"""Messages as they stand on the wire: the frames of a server (RFC 6455, section 5).

A server's frames are not masked, so they are the same bytes for every client. They are not compressed
either, which is legal also where permessage-deflate was agreed: that is said message by message
(RFC 7692, section 6).
"""

from __future__ import annotations

import struct

_FINAL_TEXT = 0x81
_FINAL_BINARY = 0x82


def to_bytes(message: str | bytes) -> bytes:
    """The message as one frame."""
    if isinstance(message, str):
        first, payload = _FINAL_TEXT, message.encode()
    else:
        first, payload = _FINAL_BINARY, message
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", first, 126, length) + payload
    return struct.pack("!BBQ", first, 127, length) + payload
