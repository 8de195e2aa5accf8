"""hub.js on Node: its rules, its types, its own tests, and what npm would pack."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import django_hub

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

HERE = Path(__file__).parents[1] / "js"
MODULE = Path(django_hub.__file__).parent / "static" / "django_hub"


def run(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of tests/js beside the package's module, wherever that is installed, with the pinned tools."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    root = tmp_path_factory.mktemp("hub_js")
    shutil.copytree(MODULE, root / "django_hub" / "static" / "django_hub")
    copy = root / "tests" / "js"
    shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("node_modules"))
    run(copy, "npm", "ci", "--no-audit", "--no-fund")
    return copy


# One test: each process of pytest that ran a part of it would install the tools again.
@pytest.mark.heavy
def test_rules_types_and_tests(copy):
    run(copy, "npm", "run", "lint")
    run(copy, "npm", "run", "types")
    run(copy, "npm", "test")
    (packed,) = json.loads(
        run(copy, "npm", "pack", "--dry-run", "--json", "../../django_hub/static/django_hub")
    )
    assert {file["path"] for file in packed["files"]} == {
        "LICENSE",
        "README.md",
        "hub.d.ts",
        "hub.js",
        "package.json",
    }


def test_the_module_is_one_of_static_files():
    from django.contrib.staticfiles import finders

    assert Path(finders.find("django_hub/hub.js")) == MODULE / "hub.js"


def test_its_licence_is_the_package_s():
    assert (MODULE / "LICENSE").read_text() == (Path(__file__).parents[2] / "LICENSE").read_text()


def test_its_version_is_the_package_s():
    import importlib.metadata

    version = json.loads((MODULE / "package.json").read_text())["version"]
    assert version == importlib.metadata.version("django-hub")
