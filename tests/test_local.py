"""The connections of one hub here, and whose wires an entry is for."""

from django_hub import local as module
from django_hub.entries import Entry, Scope
from django_hub.local import Local
from django_hub.messages import Close
from tests.apps import make_connection
from tests.apps import world as world


def wires(local, entry):
    return [wire for _, some in local.wires(entry) for wire in some]


async def test_one_a_key_the_newest():
    local = Local()
    old, new = make_connection("ann", session="s"), make_connection("ann", session="s")
    local.put(old)
    local.put(new)
    assert (len(local), local.sessions, local.get("s")) == (1, 1, new)
    local.drop("s")
    assert (len(local), local.sessions, local.get("s")) == (0, 0, None)
    local.drop("s")
    assert local.sessions == 0


async def test_who_hears_no_more_gets_what_is_for_it_alone():
    local, ann, bob = Local(), make_connection("ann", session="s"), make_connection("bob")
    local.put(ann)
    local.put(bob)
    ann.hears = False
    local.put(ann)
    assert (len(local), local.sessions, list(local.hearing)) == (2, 1, [bob])
    assert local.all == {"s": ann, bob.key: bob}
    assert wires(local, Entry("lobby", "all")) == [bob.wire]
    assert wires(local, Entry("lobby", "one", Scope.ONLY, ("s",))) == [ann.wire]
    assert wires(local, Entry("lobby", Close(4000))) == [bob.wire, ann.wire]
    local.drop("s")
    assert (len(local), local.sessions) == (1, 0)


async def test_wires_are_those_of_now_however_many_they_are():
    local = Local()
    many = [make_connection(str(number)) for number in range(2 * module._FEW)]
    for connection in many:
        local.put(connection)
    everybody = Entry("lobby", "all")
    assert wires(local, everybody) == [each.wire for each in many]
    assert local.wires(everybody) is local.wires(everybody)
    late = make_connection("late", session="s")
    local.put(late)
    assert wires(local, everybody)[-1] is late.wire
    assert len(local.wires(everybody)) == 2  # those who speak hub.v1 are apart
    late.wire = make_connection("another").wire
    local.changed()
    assert wires(local, everybody)[-1] is late.wire
    local.drop("s")
    assert wires(local, everybody) == [each.wire for each in many]
