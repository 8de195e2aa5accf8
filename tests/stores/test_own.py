"""A store of the project's own, as DJANGO_HUB["STORE"] names it."""

import asyncio

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_hub.checks import check_configuration
from django_hub.limits import Limits
from django_hub.stores.base import Store
from django_hub.stores.memory import MemoryStore
from django_hub.stores.registry import forget_stores, get_store
from tests.apps import World
from tests.apps import world as world


class Noted(MemoryStore):
    """One for any loop, with an option it must have, and one it may."""

    def __init__(self, limits, *, shelf, size=10):
        super().__init__(limits)
        self.shelf, self.size = shelf, size


class OfOneLoop(MemoryStore):
    any_loop = False


class Shy(MemoryStore):
    def __init__(self, limits):
        raise ValueError("not today")


class Careless(MemoryStore):
    def __init__(self, limits):
        super().__init__(limits)
        del self.limits


class Half(MemoryStore):
    beat = None


class Abstract(Store):
    """Nothing is written yet."""


class Alike:
    """A store by its methods alone."""

    def __init__(self, limits):
        self.limits = limits
        self._store = MemoryStore(limits)


def _passed_on(name):
    def call(self, *args, **kwargs):
        return getattr(self._store, name)(*args, **kwargs)

    return call


for _name in dir(Store):
    if not _name.startswith("_") and callable(getattr(Store, _name)):
        setattr(Alike, _name, _passed_on(_name))

NO_CLASS = Noted.__init__


def named(name, **options):
    return {"BACKEND": f"{__name__}.{name}", **options}


@pytest.fixture(autouse=True)
def stores_of_this_test():
    forget_stores()
    yield
    forget_stores()


async def test_it_is_made_with_the_limits_and_its_options(settings):
    settings.DJANGO_HUB = {"STORE": named("Noted", shelf="oak"), "BATCH": 7}
    assert check_configuration() == []
    store = get_store()
    assert (type(store), store.shelf, store.size, store.limits) == (Noted, "oak", 10, Limits(batch=7))
    assert get_store() is store
    settings.DJANGO_HUB = {"STORE": named("Noted", shelf="elm", size=3)}
    assert (get_store().shelf, get_store().size) == ("elm", 3)


@pytest.mark.parametrize(("name", "one"), [("Noted", True), ("OfOneLoop", False), ("Alike", False)])
async def test_there_is_one_for_each_loop_or_one_for_all(settings, name, one):
    settings.DJANGO_HUB = {"STORE": named(name, **({"shelf": "oak"} if name == "Noted" else {}))}

    async def there():
        return get_store()

    mine = get_store()
    assert (await asyncio.to_thread(asyncio.run, there()) is mine) is one
    assert get_store() is mine


@pytest.mark.parametrize("name", ["OfOneLoop", "Alike"])
async def test_hubs_live_in_it(world: World, settings, name):
    settings.DJANGO_HUB = {"STORE": named(name)}
    ann = await world.join("ann")
    assert type(world.relay.store).__name__ == name
    ann.send_nowait("hi")
    await world.heard(("joined", "ann"), ("message", "ann", "hi"))
    assert (await world.store.member("lobby", "ann")).client_id == "ann"


@pytest.mark.parametrize(
    ("store", "said"),
    [
        (
            {"BACKEND": "no.such.Store"},
            "['BACKEND'] is the dotted path of a store's class; got 'no.such.Store'",
        ),
        ({"BACKEND": "Store"}, "got 'Store'"),
        ({"BACKEND": None}, "got None"),
        ({"BACKEND": MemoryStore}, "got <class"),
        (named("NoSuch"), 'does not define a "NoSuch"'),
        (named("NO_CLASS"), "names no class"),
        ({"BACKEND": "decimal.Decimal"}, "is no store, it lacks: apply, ban, bans, beat,"),
        (named("Half"), "is no store, it lacks: beat. What each promises"),
        (named("Abstract"), "it lacks: apply, "),
        (named("Noted"), "Noted(limits) can't be called: missing a required "),
        (
            named("Noted", shelf=1, sise=2),
            "Noted(limits, shelf=…, sise=…) can't be called: got an unexpected",
        ),
        (named("Noted", shelf=1, limits=2), "multiple values for argument 'limits'"),
    ],
    ids=lambda given: str(given)[:60],
)
async def test_what_is_none_is_said_by_the_check_and_by_who_uses_it(store, said):
    with override_settings(DJANGO_HUB={"STORE": store}):
        (error,) = check_configuration()
        assert error.id == "django_hub.E005"
        assert error.msg.startswith("DJANGO_HUB['STORE']")
        assert said in error.msg
        with pytest.raises(ImproperlyConfigured) as raised:
            get_store()
    assert str(raised.value) == error.msg


async def test_what_its_constructor_raises_is_raised_each_time():
    with override_settings(DJANGO_HUB={"STORE": named("Shy")}):
        for _ in range(2):
            with pytest.raises(ValueError, match="not today"):
                get_store()


async def test_one_that_forgets_its_limits_is_none():
    with (
        override_settings(DJANGO_HUB={"STORE": named("Careless")}),
        pytest.raises(ImproperlyConfigured, match="a Careless keeps no limits"),
    ):
        get_store()
