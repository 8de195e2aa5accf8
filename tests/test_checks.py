"""What `manage.py check` says of a configuration."""

import io
import json

import pytest
from channels.layers import BaseChannelLayer
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from django_hub.checks import check_configuration, check_deployment
from django_hub.stores.registry import forget_stores

APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
IN_MEMORY = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
REDIS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": "redis://127.0.0.1:1", "socket_timeout": 15}]},
    }
}


@pytest.fixture(autouse=True)
def stores_of_this_test():
    forget_stores()
    yield
    forget_stores()


def found(**settings):
    """What is found, each with its text and hint."""
    with override_settings(**settings):
        return {message.id: f"{message.msg} {message.hint or ''}" for message in check_configuration()}


def test_a_right_configuration_has_nothing_to_say():
    assert found() == {}


def test_manage_check_runs_it():
    with override_settings(DJANGO_HUB={"BAET": 1.0}):
        assert [m.id for m in run_checks() if (m.id or "").startswith("django_hub.")] == ["django_hub.E004"]
        with pytest.raises(SystemCheckError, match=r"django_hub\.E004"):
            call_command("check", stdout=io.StringIO(), stderr=io.StringIO())


@pytest.mark.parametrize(
    "given", [{"BAET": 1.0}, {"BEAT": "often"}, {"BEAT": -1.0}, {"BEAT": 100.0}, []], ids=str
)
def test_a_wrong_setting_is_an_error(given):
    errors = found(DJANGO_HUB=given)
    assert list(errors) == ["django_hub.E004"]
    assert "DJANGO_HUB" in errors["django_hub.E004"]


@pytest.mark.parametrize("path", ["nowhere.Encoder", "json.dumps"])
def test_an_encoder_that_is_none_is_an_error(path):
    """Or else the first dict that anybody sends finds out."""
    errors = found(DJANGO_HUB={"JSON_ENCODER": path})
    assert list(errors) == ["django_hub.E004"]
    assert "JSON_ENCODER" in errors["django_hub.E004"]


def test_no_channel_layer_is_an_error_with_the_fix():
    errors = found(CHANNEL_LAYERS={})
    assert list(errors) == ["django_hub.E003"]
    assert "CHANNEL_LAYERS = {" in errors["django_hub.E003"]


def test_a_layer_that_is_not_configured_is_an_error():
    errors = found(DJANGO_HUB={"LAYER": "other"})
    assert list(errors) == ["django_hub.E003"]
    assert "'other'" in errors["django_hub.E003"]


@pytest.mark.parametrize("broken", [{"BACKEND": "nowhere.Layer"}, {"CONFIG": {}}], ids=json.dumps)
def test_a_layer_that_cannot_be_made_is_an_error_and_no_traceback(broken):
    assert list(found(CHANNEL_LAYERS={"default": broken})) == ["django_hub.E003"]


class OtherLayer(BaseChannelLayer):
    """A channel layer that is neither the in-memory one nor channels_redis."""

    def __init__(self):
        super().__init__()


def test_a_layer_that_no_store_fits_is_an_error_with_the_fix():
    errors = found(CHANNEL_LAYERS={"default": {"BACKEND": f"{__name__}.OtherLayer"}})
    assert list(errors) == ["django_hub.E005"]
    assert "DJANGO_HUB = {" in errors["django_hub.E005"]


CORE = "channels_redis.core.RedisChannelLayer"


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"hosts": "localhost:6379"}, "You must pass a list of Redis hosts"),
        ({"hosts": [("localhost",)]}, "IndexError"),
        ({"host": ["redis://localhost"]}, "unexpected keyword argument 'host'"),
    ],
    ids=["a text for a list", "a host without a port", "a misspelt option"],
)
def test_what_a_backend_makes_nothing_of_is_an_error_and_no_traceback(config, complaint):
    errors = found(CHANNEL_LAYERS={"default": {"BACKEND": CORE, "CONFIG": config}})
    assert list(errors) == ["django_hub.E003"]
    assert "'default' can't be made of what CHANNEL_LAYERS says" in errors["django_hub.E003"]
    assert complaint in errors["django_hub.E003"]


def test_a_host_that_is_none_is_an_error_and_no_traceback():
    errors = found(CHANNEL_LAYERS={"default": {"BACKEND": CORE, "CONFIG": {"hosts": [5]}}})
    assert list(errors) == ["django_hub.E005"]


def test_a_store_that_is_neither_memory_nor_an_address_is_an_error():
    errors = found(DJANGO_HUB={"STORE": "postgres"})
    assert list(errors) == ["django_hub.E005"]
    assert "'postgres'" in errors["django_hub.E005"]


@pytest.mark.parametrize(
    ("store", "complaint"),
    [
        ({}, "it is empty"),
        ({"address": 5}, "its address is a text; got int"),
        ({"address": None}, "its address is a text; got NoneType"),
    ],
    ids=str,
)
def test_a_store_whose_host_is_none_is_an_error_of_its_own(store, complaint):
    errors = found(DJANGO_HUB={"STORE": store})
    assert list(errors) == ["django_hub.E005"]
    assert f"DJANGO_HUB['STORE'], is none: {complaint}. Write it as" in errors["django_hub.E005"]


@pytest.mark.parametrize(
    ("host", "misspelt"),
    [
        ({"adress": "redis://127.0.0.1:1"}, "adress"),
        ({"address": "redis://127.0.0.1:1", "timeot": 15}, "timeot"),
        ({"address": "redis://127.0.0.1:1?timeot=15"}, "timeot"),
    ],
    ids=str,
)
@pytest.mark.parametrize("place", ["the store", "the layer"])
def test_a_misspelt_option_of_a_host_is_found_before_its_first_connection(host, misspelt, place):
    layers = redis_layer(host) if place == "the layer" else IN_MEMORY
    errors = found(CHANNEL_LAYERS=layers, DJANGO_HUB={"STORE": host} if place == "the store" else {})
    assert list(errors) == ["django_hub.E005"]
    assert f"unexpected keyword argument '{misspelt}'. Write it as" in errors["django_hub.E005"]


def test_the_memory_store_can_be_named():
    assert found(DJANGO_HUB={"STORE": "memory"}) == {}


def test_the_in_memory_layer_without_its_embedded_worker_is_a_warning():
    warnings = found(DJANGO_HUB={"EMBEDDED_WORKER": False})
    assert list(warnings) == ["django_hub.W001"]
    assert "EMBEDDED_WORKER" in warnings["django_hub.W001"]
    assert "channels_redis" in warnings["django_hub.W001"]


@pytest.mark.parametrize("embedded", [None, True])
def test_the_in_memory_layer_with_its_embedded_worker_is_none(embedded):
    assert found(DJANGO_HUB={"EMBEDDED_WORKER": embedded}) == {}


def test_another_layer_needs_no_embedded_worker():
    assert "django_hub.W001" not in found(
        CHANNEL_LAYERS=REDIS, DJANGO_HUB={"EMBEDDED_WORKER": False, "STORE": "memory"}
    )


@pytest.mark.parametrize(
    "apps",
    [
        ["channels", "django_hub"],
        ["channels.apps.ChannelsConfig", "django_hub"],
        ["channels", "django_hub.apps.DjangoHubConfig"],
    ],
    ids=str,
)
def test_channels_before_django_hub_is_a_warning(apps):
    assert list(found(INSTALLED_APPS=[*apps, *APPS])) == ["django_hub.W002"]


@pytest.mark.parametrize(
    "apps",
    [
        ["django_hub", "channels"],
        ["django_hub.apps.DjangoHubConfig", "channels.apps.ChannelsConfig"],
        ["django_hub"],
    ],
    ids=str,
)
def test_django_hub_before_channels_is_right(apps):
    assert found(INSTALLED_APPS=[*apps, *APPS]) == {}


def redis_layer(*hosts, kind="core.RedisChannelLayer"):
    return {"default": {"BACKEND": f"channels_redis.{kind}", "CONFIG": {"hosts": list(hosts)}}}


URL = "redis://127.0.0.1:1"


@pytest.mark.parametrize(
    "host",
    [
        URL,
        ("127.0.0.1", 1),
        {"address": URL},
        {"address": URL, "socket_timeout": 5},
        {"address": f"{URL}/0?socket_timeout=3"},
        {"host": "127.0.0.1", "port": 1},
    ],
    ids=str,
)
def test_a_host_whose_reads_time_out_while_the_layer_waits_is_an_error(host, monkeypatch):
    monkeypatch.setattr("redis.__version__", "8.0.0")
    (error,) = found(CHANNEL_LAYERS=redis_layer(host)).values()
    assert "every idle process ends with a TimeoutError" in error
    # The fix, as it stands in the hint.
    hint = error.partition("Write the host as ")[2].rstrip(".").replace("redis://…", URL)
    assert found(CHANNEL_LAYERS=redis_layer(json.loads(hint))) == {}


@pytest.mark.parametrize(
    "host",
    [
        {"address": URL, "socket_timeout": 15},
        {"address": URL, "socket_timeout": None},
        {"address": f"{URL}/0?socket_timeout=6"},
    ],
    ids=str,
)
def test_a_host_whose_reads_may_take_longer_is_none(host, monkeypatch):
    monkeypatch.setattr("redis.__version__", "8.0.0")
    assert found(CHANNEL_LAYERS=redis_layer(host)) == {}


@pytest.mark.parametrize("version", ["5.3.1", "7.4.0"])
def test_before_redis_py_8_reads_take_as_long_as_they_take(version, monkeypatch):
    monkeypatch.setattr("redis.__version__", version)
    assert found(CHANNEL_LAYERS=redis_layer(URL)) == {}


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1", "127.0.0.1:1", "redis://u:secret@127.0.0.1:port/0"], ids=str
)
@pytest.mark.parametrize("of", ["layer", "store"])
def test_an_address_that_is_none_is_an_error_with_the_fix_and_without_the_password(address, of):
    host = {"address": address, "socket_timeout": 15}
    if of == "layer":
        messages = found(CHANNEL_LAYERS=redis_layer(host))
    else:
        messages = found(CHANNEL_LAYERS=IN_MEMORY, DJANGO_HUB={"STORE": host})
    assert list(messages) == ["django_hub.E005"]
    assert 'Write it as {"address": "redis://localhost:6379/0"' in messages["django_hub.E005"]
    assert "secret" not in messages["django_hub.E005"]


def test_several_hosts_are_an_error():
    hosts = [{"address": f"redis://127.0.0.1:{port}", "socket_timeout": 15} for port in (1, 2)]
    assert found(CHANNEL_LAYERS=redis_layer(*hosts)) == {
        "django_hub.E002": "The channel layer has 2 hosts: messages to one process go to the wrong one "
        "about half of the time. Give it one host."
    }


def test_several_warnings_come_together():
    assert set(
        found(DJANGO_HUB={"EMBEDDED_WORKER": False}, INSTALLED_APPS=["channels", "django_hub", *APPS])
    ) == {"django_hub.W001", "django_hub.W002"}


def test_a_deployment_says_how_many_proxies_there_are(settings):
    settings.DJANGO_HUB = {}
    (warning,) = check_deployment()
    assert warning.id == "django_hub.W003"
    for proxies in (0, 1):
        settings.DJANGO_HUB = {"PROXIES": proxies}
        assert check_deployment() == []
    settings.DJANGO_HUB = {"PROXIES": "one"}
    assert check_deployment() == []
