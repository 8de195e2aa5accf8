"""Lines: what the store is asked of one log, and how much may wait of it."""

from django_hub import lines as module
from django_hub.entries import Entry
from django_hub.lines import Line
from django_hub.sequences import Sequence
from django_hub.stores.memory import MemoryStore
from django_hub.stores.ops import Publication


async def test_of_its_own_log_what_is_above_of_another_all():
    store = MemoryStore()
    one, *_ = await store.publish([Publication(hub="lobby", item=str(n), id=str(n)) for n in range(3)])
    line = Line("lobby")
    assert [seq for seq, _ in (await line.history(store, 2)).items] == [1, 2, 3]
    line.numbers = Sequence("lobby", one.epoch, 2)
    assert [seq for seq, _ in (await line.history(store, 2)).items] == [3]
    assert (await line.history(store, 4)).epoch != one.epoch


def test_it_is_full_by_numbers_or_bytes():
    line = Line("lobby")
    line.numbers = Sequence("lobby", "e", 0)
    for seq in range(2, module._MOST + 2):
        line.numbers.take(Entry("lobby", "", epoch="e", seq=seq))
    assert not line.is_full
    line.numbers.size = module._MOST_BYTES + 1
    assert line.is_full
    assert len(line.fill(None)) == module._MOST + 1
    assert not line.is_full
    assert line.is_settled
