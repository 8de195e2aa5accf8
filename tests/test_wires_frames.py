"""Messages as frames: websockets' own strict parser reads them back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from django_hub.wires.frames import to_bytes


def read_back(data: bytes) -> tuple[Frame, int]:
    """The frame, and how many bytes came behind it."""
    reader = StreamReader()
    reader.feed_data(data)
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as stopped:
        next(parsing)
    return stopped.value.value, len(reader.buffer)


@given(st.one_of(st.text(), st.binary()))
def test_any_message_comes_back(message: str | bytes) -> None:
    frame, behind = read_back(to_bytes(message))
    kind, payload = (
        (Opcode.TEXT, message.encode()) if isinstance(message, str) else (Opcode.BINARY, message)
    )
    assert (frame.opcode, bytes(frame.data), frame.fin, behind) == (kind, payload, True, 0)
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (False, False, False)


@pytest.mark.parametrize(
    ("length", "header"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (10_000_000, 10)]
)
def test_each_length_has_its_shortest_header(length: int, header: int) -> None:
    data = to_bytes(b"x" * length)
    assert len(data) == header + length
    frame, behind = read_back(data)
    assert (len(frame.data), behind) == (length, 0)
