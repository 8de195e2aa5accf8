"""What holds for all tests: no skipping where a run must be whole, and times of a slow machine."""

import asyncio
import gc
from collections.abc import Generator, Iterator

import hypothesis
import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from tests.live.servers import SCALE, Broker, valkey

# The machine's load is no property of the code.
hypothesis.settings.register_profile("django_hub", deadline=None, print_blob=True)
hypothesis.settings.load_profile("django_hub")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--must-run",
        action="store_true",
        help="a skipped test fails, unless it is marked may_skip",
    )


def pytest_collection_finish() -> None:
    """A collection after a test, for what that left, need not look at all that was there before."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(float(config.getini("timeout")) * SCALE))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and item.config.getoption("must_run")
        and item.get_closest_marker("may_skip") is None
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped, and this run must be whole (--must-run): {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself whole."""
    report = yield
    if report.skipped and collector.config.getoption("must_run"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and this run must be whole (--must-run): {report.longrepr}"
    return report


@pytest.fixture(scope="module")
def server() -> Iterator[Broker]:
    """A Valkey, or the server DJANGO_HUB_REDIS_SERVER names, for all tests of a module."""
    server = valkey(appendonly="no")
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(autouse=True)
def _no_connection_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """What asynchronous code opened stays with asgiref's thread. In a test without a database pytest-django
    then forbids even to look whether it is old, as workers do before each handler."""
    yield
    if request.node.get_closest_marker("django_db") or {"db", "transactional_db"} & {*request.fixturenames}:
        SyncToAsync.single_thread_executor.submit(_forget_connections).result()


def _forget_connections() -> None:
    for connection in connections.all(initialized_only=True):
        # Of one to a database in memory Django's own close does nothing.
        if connection.connection is not None:
            connection.connection.close()
        del connections[connection.alias]
