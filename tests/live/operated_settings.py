"""The settings of `tests.live.operated`."""

import os

from demo_project.settings import *  # noqa: F403

ROOT_URLCONF = "tests.live.operated"
ASGI_APPLICATION = os.environ.get("ASGI", "tests.live.operated.application")
FORCE_SCRIPT_NAME = os.environ.get("SCRIPT_NAME") or None
