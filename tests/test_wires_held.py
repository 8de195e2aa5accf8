"""A wire that holds what comes until it is opened."""

import asyncio

from django_hub.messages import Close
from django_hub.wires.asgi import AsgiWire
from django_hub.wires.base import Outgoing
from django_hub.wires.held import HeldWire


class Socket:
    def __init__(self):
        self.sent = []

    async def send(self, message):
        self.sent.append(message.get("text", message.get("code")))


def held_on(socket):
    wire = AsgiWire(socket.send)
    return wire, HeldWire(wire)


async def test_what_was_held_comes_behind_what_was_written_past_it():
    socket = Socket()
    wire, held = held_on(socket)
    HeldWire.write_to_all([held], Outgoing("2"))
    held.write(Outgoing("3"))
    assert (held.waiting_frames, held.waiting_bytes) == (2, 2)
    wire.write(Outgoing("1"))
    assert held.open() is wire
    assert socket.sent == ["1", "2", "3"]


async def test_a_close_is_held_and_nothing_comes_behind_it():
    socket = Socket()
    wire, held = held_on(socket)
    assert held.write(Outgoing("1"))
    assert held.write(Outgoing(Close(4000)))
    assert held.closed
    assert not held.write(Outgoing("2"))
    held.open()
    assert socket.sent == ["1", 4000]
    assert wire.closed


async def test_what_is_given_up_is_given_back_but_for_a_close():
    socket = Socket()
    _, held = held_on(socket)
    held.write(Outgoing("1"))
    held.write(Outgoing(Close(4000)))
    assert held.abandon() == ["1"]
    assert socket.sent == [4000]
    held.open()
    assert socket.sent == [4000]


async def test_a_close_that_comes_when_it_is_given_up_goes_out():
    socket = Socket()
    wire, held = held_on(socket)
    held.write(Outgoing("1"))
    assert held.abandon() == ["1"]
    assert not held.write(Outgoing("2"))
    assert held.write(Outgoing(Close(4000)))
    assert socket.sent == [4000]
    assert held.open() is wire
    assert socket.sent == [4000]


async def test_its_owner_is_told_of_what_waits():
    told = []
    wire, _ = held_on(Socket())
    wire.waits = lambda: told.append(True)
    HeldWire(wire).write(Outgoing("1"))
    assert told


async def test_a_walk_that_began_before_it_was_opened_loses_nothing():
    socket = Socket()
    _, held = held_on(socket)
    held.write(Outgoing("1"))
    held.open()
    HeldWire.write_to_all([held], Outgoing("2"))
    assert socket.sent == ["1", "2"]


async def test_what_is_written_when_it_is_opened_does_not_wait_any_more():
    waiting = []
    wire, held = held_on(Socket())
    wire.waits = lambda: waiting.append(held.waiting_frames)
    gate = asyncio.Event()
    wire._send = lambda message: gate.wait()
    held.write(Outgoing("1"))
    held.write(Outgoing("2"))
    held.open()
    assert max(waiting) == 2
    gate.set()
    await wire.drained()


async def test_the_oldest_of_what_is_held_can_be_dropped():
    socket = Socket()
    _, held = held_on(socket)
    held.write(Outgoing("1"))
    assert not held.drop_oldest()
    held.write(Outgoing("22"))
    assert held.drop_oldest()
    assert (held.dropped, held.waiting_frames, held.waiting_bytes) == (1, 1, 2)
    held.open()
    assert socket.sent == ["22"]


async def test_what_it_can_not_do_by_itself_the_other_wire_does():
    wire, held = held_on(Socket())
    assert not held.drop_oldest()
    assert not held.abort()
    await held.drained()
    wire.write(Outgoing(Close()))
    assert held.closed
    assert held.closed_by_us
