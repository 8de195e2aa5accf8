"""Public = exported = documented."""

import dataclasses
import inspect
import types

import pytest

import django_hub
from django_hub import additions, api, bans, events, exceptions, messages, sync, testing, tickets

EXPORTED = {
    **{name: getattr(testing, name) for name in testing.__all__},
    **{name: getattr(django_hub, name) for name in django_hub.__all__},
}
CLASSES = {name: value for name, value in EXPORTED.items() if inspect.isclass(value)}
FUNCTIONS = {name: value for name, value in EXPORTED.items() if inspect.isfunction(value)}


def own(module):
    """The public names that a module itself defines."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    }


#: What `sync` has in a form that blocks, and what neither waits nor asks anybody.
ASYNCHRONOUS = own(additions) | own(api) | own(bans)
PLAIN = {name for name in own(tickets) if name.startswith("hub_")}


def documented_parts(cls):
    for name, part in vars(cls).items():
        if name.startswith("_"):
            continue
        if isinstance(part, (types.FunctionType, property, classmethod, staticmethod)):
            yield name


@pytest.mark.parametrize("module", [django_hub, testing], ids=lambda module: module.__name__)
def test_the_list_of_names_is_sorted_and_has_none_twice(module):
    assert module.__all__ == sorted(set(module.__all__))


def test_a_star_import_brings_exactly_these():
    namespace = {}
    exec("from django_hub import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(django_hub.__all__)


def test_nothing_else_is_in_the_package():
    others = {
        name
        for name, value in vars(django_hub).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert others == set(django_hub.__all__)


@pytest.mark.parametrize("module", [additions, api, bans, exceptions], ids=lambda module: module.__name__)
def test_what_the_module_offers_is_exported(module):
    assert own(module) <= set(django_hub.__all__)


def test_events_and_messages_that_an_application_meets_are_exported():
    dataclasses_of = {
        name
        for module in (events, messages)
        for name in own(module)
        if inspect.isclass(getattr(module, name))
    }
    assert dataclasses_of <= set(django_hub.__all__)


@pytest.mark.parametrize("name", EXPORTED)
def test_everything_exported_has_a_docstring_of_its_own(name):
    doc = vars(EXPORTED[name]).get("__doc__") if name in CLASSES else EXPORTED[name].__doc__
    assert doc
    assert doc.strip()
    # A dataclass without one is given its signature as docstring.
    assert not doc.startswith(f"{name}(")


@pytest.mark.parametrize(
    ("cls", "part"), [(name, part) for name, cls in CLASSES.items() for part in documented_parts(cls)]
)
def test_every_public_part_of_a_class_has_a_docstring(cls, part):
    assert inspect.getdoc(inspect.getattr_static(CLASSES[cls], part))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_and_result_has_a_type(name):
    signature = inspect.signature(FUNCTIONS[name])
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter


def test_every_error_is_a_hub_error():
    for name in own(exceptions):
        assert issubclass(getattr(exceptions, name), django_hub.HubError)


def test_the_tree_of_errors_shows_each():
    for name in own(exceptions):
        assert name in exceptions.__doc__


@pytest.mark.parametrize("name", [n for n, cls in CLASSES.items() if dataclasses.is_dataclass(cls)])
def test_values_are_frozen(name):
    assert CLASSES[name].__dataclass_params__.frozen


def test_sync_has_the_same_functions_as_api():
    offered = {
        name
        for name, value in vars(sync).items()
        if callable(value) and name.startswith(("hub_", "current_"))
    }
    assert offered == ASYNCHRONOUS | PLAIN
    assert offered == {name for name in FUNCTIONS if name.startswith(("hub_", "current_"))}


@pytest.mark.parametrize("name", sorted(ASYNCHRONOUS))
def test_a_function_of_sync_blocks_and_takes_and_says_the_same(name):
    blocking, original = getattr(sync, name), EXPORTED[name]
    assert not inspect.iscoroutinefunction(blocking)
    assert not inspect.isasyncgenfunction(blocking)
    assert inspect.signature(blocking).parameters == inspect.signature(original).parameters
    assert blocking.__doc__ == original.__doc__


@pytest.mark.parametrize("name", sorted(ASYNCHRONOUS))
def test_a_function_of_api_is_asynchronous(name):
    function = EXPORTED[name]
    assert inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def test_a_refusal_says_its_code_and_reason():
    refused = django_hub.Refused(4403, "members only")
    assert (refused.code, refused.reason) == (4403, "members only")
    assert str(refused) == "refused with 4403: members only"
    assert str(django_hub.Refused(4403)) == "refused with 4403"


@pytest.mark.parametrize("code", ["4000", 99, 1005, 1006, 1015, 2999, 5000, True, 4000.0, None])
def test_a_refusal_with_a_code_that_can_not_be_said_is_refused_where_it_is_made(code):
    with pytest.raises(django_hub.InvalidMessage, match=r"close code is one of RFC 6455.*; got "):
        django_hub.Refused(code, "x")


@pytest.mark.parametrize("reason", [None, b"x", 5, "half \ud800"])
def test_so_is_one_with_such_a_reason(reason):
    with pytest.raises(django_hub.InvalidMessage, match="A close reason is text"):
        django_hub.Refused(4000, reason)
