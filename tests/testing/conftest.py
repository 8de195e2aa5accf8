"""A small application, and the plugin's fixtures."""

import pytest

from django_hub.testing.plugin import clean_hubs, hub_connections, hub_layer  # noqa: F401


@pytest.fixture(autouse=True)
def _garden(settings):
    settings.ASGI_APPLICATION = "tests.testing.garden.application"
