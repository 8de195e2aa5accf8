"""The setting DJANGO_HUB."""

import dataclasses
import json

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.test import override_settings

from django_hub.conf import Settings, get_settings
from django_hub.limits import Limits


class PlainEncoder(json.JSONEncoder):
    """An encoder of a project."""


def hub(**given):
    return override_settings(DJANGO_HUB=given)


def test_without_the_setting_the_defaults_hold():
    assert get_settings() == Settings()


def test_what_is_given_is_taken_and_the_rest_is_default():
    with hub(BEAT=2.0, LAYER="other", EMBEDDED_WORKER=False):
        assert get_settings() == Settings(BEAT=2.0, LAYER="other", EMBEDDED_WORKER=False)


def test_the_setting_is_read_at_use():
    with hub(BATCH=7):
        assert get_settings().BATCH == 7
        with hub(BATCH=8):
            assert get_settings().BATCH == 8
        assert get_settings().BATCH == 7
    assert get_settings().BATCH == Settings().BATCH


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_settings().BATCH = 1


def test_another_setting_changes_nothing():
    before = get_settings()
    with override_settings(DEBUG=True):
        assert get_settings() is before


def test_the_defaults_are_those_of_a_store():
    assert Settings().limits == Limits()


def test_limits_are_the_settings_in_a_stores_words():
    with hub(
        BEAT=1,
        PROCESS_LEASE=3,
        HUB_LEASE=4,
        BATCH=5,
        MAILBOX_LIMIT=6,
        DEAD_LETTERS=7,
        HISTORY_SIZE=8,
        HISTORY_TTL=9,
    ):
        assert get_settings().limits == Limits(
            ring_again=1,
            process_lease=3,
            hub_lease=4,
            batch=5,
            mailbox=6,
            dead_letters=7,
            history_size=8,
            history_ttl=9,
        )


@pytest.mark.parametrize("given", [None, [], "BEAT", [("BEAT", 1.0)]])
def test_a_setting_that_is_no_dict_is_refused(given):
    with (
        override_settings(DJANGO_HUB=given),
        pytest.raises(ImproperlyConfigured, match="DJANGO_HUB is a dict"),
    ):
        get_settings()


def test_unknown_keys_are_refused_and_the_error_names_the_known_ones():
    with (
        override_settings(DJANGO_HUB={"BAET": 1.0, 5: 1, "BATCH": 3}),
        pytest.raises(
            ImproperlyConfigured, match=r"unknown keys: 5, BAET\. It may have: BATCH, BEAT, .*STORE"
        ),
    ):
        get_settings()


def test_a_mended_setting_is_read_again():
    with hub(BAET=1.0):
        with pytest.raises(ImproperlyConfigured):
            get_settings()
        with hub(BEAT=1.0):
            assert get_settings().BEAT == 1.0


WRONG_TYPES = {
    "LAYER": None,
    "STORE": 1,
    "BEAT": "10",
    "PROCESS_LEASE": None,
    "HUB_LEASE": True,
    "BATCH": 1.5,
    "MAILBOX_LIMIT": True,
    "DEAD_LETTERS": "100",
    "HISTORY_SIZE": 1.5,
    "HISTORY_TTL": "300",
    "MAX_CONCURRENT_HUBS": None,
    "EMBEDDED_WORKER": 1,
    "JSON_ENCODER": DjangoJSONEncoder,
    "SHUTDOWN_GRACE": [],
    "DRAIN": "10",
    "RECHECK": "600",
    "METRICS": "yes",
    "METRICS_TOKEN": 1,
    "TRACING": 1,
    "WIRES": "daphne",
    "CONNECTIONS_PER_USER": 1.5,
    "CONNECTIONS_PER_ADDRESS": True,
    "HUBS_PER_USER": "100",
    "JOINS_PER_USER": 1.5,
    "JOINS_PER_ADDRESS": [],
    "JOINS_HALF_LIFE": None,
    "PROXIES": "nginx",
}


def test_every_setting_is_tried_with_a_wrong_type():
    assert set(WRONG_TYPES) == {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("key", WRONG_TYPES)
def test_a_value_of_a_wrong_type_is_refused(key):
    with (
        hub(**{key: WRONG_TYPES[key]}),
        pytest.raises(ImproperlyConfigured, match=rf"DJANGO_HUB\['{key}'\] is "),
    ):
        get_settings()


@pytest.mark.parametrize(
    "key", ["BEAT", "PROCESS_LEASE", "HUB_LEASE", "BATCH", "MAILBOX_LIMIT", "DEAD_LETTERS"]
)
@pytest.mark.parametrize("value", [0, -1])
def test_a_number_that_is_not_above_zero_is_refused(key, value):
    with (
        hub(**{key: value}),
        pytest.raises(
            ImproperlyConfigured, match=rf"DJANGO_HUB\['{key}'\] must be above 0 and finite; got {value}"
        ),
    ):
        get_settings()


@pytest.mark.parametrize("key", ["HISTORY_SIZE", "HISTORY_TTL", "PROXIES"])
def test_a_history_may_be_none_but_not_less(key):
    with hub(**{key: 0}):
        assert getattr(get_settings(), key) == 0
    with (
        hub(**{key: -1}),
        pytest.raises(ImproperlyConfigured, match=rf"'{key}'\] must be 0 or above and finite.*; got -1"),
    ):
        get_settings()


NUMBERS = [each.name for each in dataclasses.fields(Settings) if each.type[:3] in ("int", "flo")]


@pytest.mark.parametrize("key", NUMBERS)
def test_a_number_that_no_store_or_clock_takes_is_refused(key):
    most = 2**31 - 1
    may_be = most // 2 if key == "BEAT" else most
    with hub(**{"PROCESS_LEASE": most, key: may_be}):
        assert getattr(get_settings(), key) == may_be
    for value in (most + 1, 10**30, *([1e300] if "float" in Settings.__annotations__[key] else [])):
        with (
            hub(**{key: value}),
            pytest.raises(ImproperlyConfigured, match=rf"'{key}'\] must be at most {most}; got 1?"),
        ):
            get_settings()


@pytest.mark.parametrize("key", ["BEAT", "HUB_LEASE"])
def test_a_lease_that_is_over_before_it_can_be_renewed_is_refused(key):
    with (
        hub(**{key: 0.0099}),
        pytest.raises(ImproperlyConfigured, match=rf"'{key}'\] must be at least 0\.01.*; got 0\.0099"),
    ):
        get_settings()


@pytest.mark.parametrize("token", [" ", "two words", "ü", "line\n", "nul\0"])
def test_a_token_that_no_header_can_bring_is_refused_and_not_shown(token):
    with (
        hub(METRICS_TOKEN=token),
        pytest.raises(ImproperlyConfigured, match=r"'METRICS_TOKEN'\] is one word of ASCII") as refused,
    ):
        get_settings()
    assert token not in str(refused.value) or token == " "


@pytest.mark.parametrize("text", ["nan", "inf"])
def test_not_a_number_and_infinity_are_refused(text):
    with hub(BEAT=float(text)), pytest.raises(ImproperlyConfigured, match=f"and finite; got {text}"):
        get_settings()


@pytest.mark.parametrize(
    "given",
    [
        {"BEAT": 1},
        {"STORE": None},
        {"STORE": "memory"},
        {"EMBEDDED_WORKER": None},
        {"EMBEDDED_WORKER": True},
        {"BEAT": 15.0, "PROCESS_LEASE": 30.0},
        {"WIRES": ()},
        {"WIRES": ["uvicorn"]},
        {"METRICS_TOKEN": "AZaz09-._~+/="},
    ],
    ids=str,
)
def test_right_values_are_taken(given):
    with hub(**given):
        settings = get_settings()
        assert {key: getattr(settings, key) for key in given} == given


def test_a_lease_that_one_late_beat_would_end_is_refused():
    with hub(BEAT=20.0), pytest.raises(ImproperlyConfigured, match=r"must be at least twice .*BEAT"):
        get_settings()


@pytest.mark.parametrize("name", ["hypercorn", "Daphne", "", 5])
def test_a_wire_that_does_not_exist_is_refused_and_the_error_names_those_that_do(name):
    with (
        hub(WIRES=("uvicorn", name)),
        pytest.raises(ImproperlyConfigured, match=rf"names {name!r}\. There are: 'daphne', 'uvicorn'"),
    ):
        get_settings()


def test_the_encoder_is_djangos_unless_another_is_named():
    assert get_settings().encoder is DjangoJSONEncoder
    with hub(JSON_ENCODER=f"{__name__}.PlainEncoder"):
        assert get_settings().encoder is PlainEncoder


@pytest.mark.parametrize("path", ["nowhere.Encoder", "json.NoSuchEncoder", "NoModule", ""])
def test_an_encoder_that_cannot_be_imported_is_refused(path):
    with (
        hub(JSON_ENCODER=path),
        pytest.raises(ImproperlyConfigured, match=r"DJANGO_HUB\['JSON_ENCODER'\]: "),
    ):
        _ = get_settings().encoder


@pytest.mark.parametrize("path", ["json.dumps", "decimal.Decimal", "json.JSONDecoder"])
def test_what_is_no_encoder_is_refused(path):
    with (
        hub(JSON_ENCODER=path),
        pytest.raises(ImproperlyConfigured, match=r"must name a subclass of json\.JSONEncoder"),
    ):
        _ = get_settings().encoder


def test_every_setting_is_described():
    for field in dataclasses.fields(Settings):
        assert f"``{field.name}``" in Settings.__doc__
