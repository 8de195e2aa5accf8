"""Fixtures for pytest: in a ``conftest.py``, ``pytest_plugins = ["django_hub.testing.plugin"]``.

``clean_hubs``: what `django_hub.testing.clean_hubs` does, around a test; in the transaction of ``db`` where
the test has that. ``hub_layer``: override it where the hubs are to run on another layer, for instance a
`ChaosLayer`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from django_hub.testing import cleaning
from django_hub.testing.databases import connections_in_transaction

try:
    import pytest_asyncio
except ImportError as error:
    raise ImportError(
        "django_hub.testing.plugin needs pytest-asyncio: pip install pytest-asyncio"
    ) from error


@pytest.fixture
def hub_layer() -> dict[str, Any] | None:
    """The channel layer of the hubs, as in CHANNEL_LAYERS; None is the in-memory one."""
    return None


@pytest.fixture
def hub_connections(request: pytest.FixtureRequest) -> list[Any]:
    """The test's database connections that handlers use as well: those in a transaction."""
    # Whichever a test names first: the transaction is there before the hubs, and after them.
    for name in ("transactional_db", "db"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    return connections_in_transaction()


@pytest_asyncio.fixture
async def clean_hubs(hub_layer: dict[str, Any] | None, hub_connections: list[Any]) -> AsyncIterator[None]:
    """Hubs that begin and end with the test, without any broker, and of which nothing stays."""
    async with cleaning.clean_hubs(hub_layer, connections=hub_connections):
        yield
