"""What is documented and drawn is what there is; and what costs nothing while it is off."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from django_hub import metrics
from django_hub.tallies import Tallies, tallies
from tests.pages import ROOT

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def dashboard() -> dict:
    return json.loads((DOCS / "howto/grafana.json").read_text())


def test_the_reference_lists_each_metric_as_it_is() -> None:
    text = (DOCS / "reference/metrics.md").read_text()
    rows = [
        f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {help_} |"
        for name, (kind, help_, labels) in metrics.described().items()
    ]
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows


def test_names_and_labels_are_as_prometheus_wants_them() -> None:
    for name, (kind, _, labels) in metrics.described().items():
        assert re.fullmatch(r"django_hub_[a-z_]+", name)
        assert name.endswith("_total") is (kind == "counter"), name
        assert set(labels) <= {"channel", "kind", "part", "reason", "recovered"}, "bounded"


def test_the_dashboard_queries_nothing_that_is_not_there(dashboard: dict) -> None:
    assert dashboard["schemaVersion"] >= 36
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"django_hub_[a-z_]+", query)}
    there = metrics.described()
    histograms = {name for name, (kind, *_) in there.items() if kind == "histogram"}
    assert {re.sub("_bucket$", "", name) for name in asked} == set(there), "each is drawn"
    assert {name for name in asked if name.endswith("_bucket")} == {f"{name}_bucket" for name in histograms}


def test_the_labels_that_the_dashboard_draws_by_are_there(dashboard: dict) -> None:
    there = metrics.described()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            (name,) = set(re.findall(r"django_hub_[a-z_]+", target["expr"]))
            labels = set(there[re.sub("_bucket$", "", name)][2])
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_all_that_is_counted_is_published() -> None:
    hooks = {"fanned_out", "handled", "publish"}
    counters = [kind for kind, *_ in metrics.described().values() if kind == "counter"]
    assert len(counters) == len(set(Tallies.__slots__) - hooks)


def test_each_process_adds_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = next(each for each, _ in metrics._COUNTERS if "gaps" in each._name)
    metrics.publish()
    before = counter._value.get()
    tallies.gaps += 3
    metrics.publish()
    metrics.publish()
    assert counter._value.get() == before + 3


def test_two_scrapes_tidy_up_after_one_dead_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each removes what it left behind, and one of them comes too late."""
    remove = os.remove
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    left = tmp_path / f"gauge_livesum_{int(done.stdout)}.db"
    left.touch()

    def after_another(path: str) -> None:
        remove(path)
        remove(path)

    monkeypatch.setattr(metrics, "_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(metrics.multiprocess.os, "remove", after_another)
    assert metrics.exposition() == b""
    assert not left.exists()


def test_who_does_not_ask_for_them_does_not_import_them() -> None:
    code = (
        "import sys, django; django.setup(); import django_hub.views, django_hub.urls; "
        "bad = [m for m in sys.modules if m.startswith(('prometheus_client', 'opentelemetry'))]; "
        "assert not bad, bad"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings"},
    )


@pytest.mark.parametrize(
    ("setting", "module", "extra"),
    [("METRICS", "prometheus_client", "metrics"), ("TRACING", "opentelemetry", "otel")],
)
def test_where_the_extra_is_missing_it_is_named(setting: str, module: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None; import tests.settings as s; "
        f"s.DJANGO_HUB = {{{setting!r}: True}}; import django; django.setup()"
    )
    failed = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings"},
        check=False,
    )
    assert f"pip install 'django-hub[{extra}]'" in failed.stderr


def test_a_directory_that_is_missing_is_named() -> None:
    failed = subprocess.run(
        [sys.executable, "-c", "import django; django.setup(); import django_hub.metrics"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "tests.settings", "PROMETHEUS_MULTIPROC_DIR": "/nowhere"},
        check=False,
    )
    assert "PROMETHEUS_MULTIPROC_DIR names no directory: /nowhere" in failed.stderr
