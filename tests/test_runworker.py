"""What `manage.py runworker` refuses before it begins, and what it says to do."""

from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter
from django.core.management import CommandError, call_command

REDIS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": "redis://127.0.0.1:1", "socket_timeout": 15}]},
    }
}
unrouted = ProtocolTypeRouter({})


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"CHANNEL_LAYERS": {}}, "CHANNEL_LAYERS has none"),
        ({"DJANGO_HUB": {"BAET": 1}}, "unknown keys: BAET"),
        ({"ASGI_APPLICATION": None}, "Cannot find ASGI_APPLICATION setting"),
        ({"ASGI_APPLICATION": "tests.nowhere.application"}, "Cannot import ASGI_APPLICATION module"),
        ({"ASGI_APPLICATION": f"{__name__}.unrouted"}, "routes no channel to a HubEvents. In asgi.py:"),
        (
            {"CHANNEL_LAYERS": {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}},
            "a worker would get nothing",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_can_not_work_is_refused_without_a_traceback(
    settings: Any, wrong: dict[str, Any], complaint: str
) -> None:
    for name, value in {"CHANNEL_LAYERS": REDIS, **wrong}.items():
        setattr(settings, name, value)
    with pytest.raises(CommandError, match=complaint):
        call_command("runworker")


def test_another_layer_than_that_of_hubs_is_refused(settings: Any) -> None:
    settings.CHANNEL_LAYERS = REDIS
    with pytest.raises(CommandError, match=r"set DJANGO_HUB\['LAYER'\] to it"):
        call_command("runworker", "--layer", "other")
