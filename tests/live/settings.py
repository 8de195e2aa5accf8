"""The demo's settings for a site of `tests.live.site`: its layer is set up through the environment."""

import os

import channels_redis.core

from demo_project.settings import *  # noqa: F403
from demo_project.settings import CHANNEL_LAYERS, env_object

ASGI_APPLICATION = os.environ.get("ASGI_APP", "tests.live.rooms.application")

_config = CHANNEL_LAYERS["default"]["CONFIG"]
_config |= env_object("LAYER_CONFIG")
_config["hosts"][0] |= env_object("LAYER_HOST")
if _pop := os.environ.get("LAYER_POP"):
    # No setting of the layer's, but it is what an idle time-out is measured by.
    channels_redis.core.RedisChannelLayer.brpop_timeout = float(_pop)
    SILENCED_SYSTEM_CHECKS = ["django_hub.E001"]  # it knows the usual five seconds only
if _urls := os.environ.get("URLCONF"):
    ROOT_URLCONF = _urls
if _traces := os.environ.get("TRACES"):
    from tests.live.traced import trace_into

    trace_into(_traces)
