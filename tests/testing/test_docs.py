"""docs/howto/test.md, written out as it stands there, and run; and the README's first test."""

import os
import re
import subprocess
import sys

import pytest

from tests.pages import ROOT, block_after, text, write_files

PAGE = "docs/howto/test.md"
SETTINGS = """
SECRET_KEY = "tests only"
INSTALLED_APPS = [
    "django_hub", "channels", "board",
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ASGI_APPLICATION = "board.asgi.application"
ROOT_URLCONF = "board.urls"
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": "redis://127.0.0.1:1/0", "socket_timeout": 15}]},
    }
}
"""


def run(folder, *command, settings):
    environment = {
        # Without the options of this run: they are not a user's.
        **{name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        "PYTHONPATH": f"{folder}:{ROOT}",
        "DJANGO_SETTINGS_MODULE": settings,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def site(tmp_path):
    (tmp_path / "settings.py").write_text(SETTINGS)
    assert len(write_files(PAGE, tmp_path, "board")) == 8
    (tmp_path / "pytest.ini").write_text(block_after(PAGE, "`pytest.ini`", "ini"))
    (tmp_path / "conftest.py").write_text(block_after(PAGE, "`conftest.py`"))
    return tmp_path


def test_the_page_runs_as_it_stands(site):
    said = run(site, "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", settings="settings")
    written = len(re.findall(r"^(?:    )?(?:async )?def test_", text(PAGE), re.MULTILINE))
    assert f"{written + 2} passed" in said  # one of them with three seeds
    assert "warning" not in said


def test_the_layer_of_a_project_without_hubs(settings):
    names = {}
    exec(block_after(PAGE, "In the settings of a project"), names)
    settings.CHANNEL_LAYERS = names["CHANNEL_LAYERS"]
    from channels.layers import channel_layers

    assert channel_layers["default"].drop == 0.1


def test_unused_it_costs_nothing():
    # No entry point loads it, and the package itself does not.
    code = "import sys, django_hub; assert not any('django_hub.testing' in name for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert "pytest11" not in (ROOT / "pyproject.toml").read_text()


def test_it_imports_neither_daphne_nor_channels_testing():
    code = (
        "import sys, django_hub.testing; "
        "assert not {'daphne', 'channels.testing', 'pytest', 'websockets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
