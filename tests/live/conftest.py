"""Fixtures of the live tests, and the logs of their processes in the report of a failed test."""

from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.certificates import write_certificate
from tests.live import servers
from tests.live.browsing import chromium, launched
from tests.live.site import Site, Start

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("live")
        if "broker" in getattr(item, "fixturenames", ()):
            item.add_marker("broker")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        error = call.excinfo.value if call.excinfo else None
        for process in servers.started():
            if process is not getattr(error, "process", None):  # that one is in the error's text
                report.sections.append((f"log of {process}", process.tail()))
    if report.when == "teardown":
        servers.forget()
    return report


@pytest.fixture
async def broker() -> AsyncIterator[servers.Broker]:
    """A real Valkey, or the server DJANGO_HUB_REDIS_SERVER names: empty, on a port of its own."""
    async with servers.valkey() as broker:
        yield broker


@pytest.fixture
async def start(broker: servers.Broker) -> AsyncIterator[Start]:
    """Starts a `Site` of two servers and ``workers``; the other options are the site's."""
    sites: list[Site] = []

    async def begin(workers: int = 2, **options: Any) -> Site:
        site = Site(broker, **options)
        sites.append(site)
        await site.start(workers)
        return site

    yield begin
    for site in sites:
        await site.stack.aclose()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of ``localhost``, in one file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    write_certificate(path)
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chrome() -> AsyncIterator[Browser]:
    if chromium() is None:
        pytest.skip("no chromium here (Debian's package of that name)")
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def browser(chrome: Browser) -> AsyncIterator[Browser]:
    """One for a module, whose tests run in its loop: ``pytest.mark.asyncio(loop_scope="module")``. What a
    test opened is closed after it."""
    yield chrome
    for context in chrome.contexts:
        await context.close()
