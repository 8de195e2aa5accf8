"""docs/howto/limits.md and the table of settings: what they say is what is."""

import re
from pathlib import Path

import pytest

from django_hub import closes
from django_hub.conf import Settings, get_settings
from django_hub.consumers import HubConsumer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/howto/limits.md").read_text()
PROMISES = (ROOT / "docs/promises.md").read_text()
ROWS = re.findall(
    r"^\| [^|]+ \| `(?:DJANGO_HUB\[\"|HubConsumer\.)(\w+)[^|]* \| (\S+) \| (\d+) \|$", PAGE, re.M
)


def test_each_snippet_runs(settings):
    consumer, options = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    names = {}
    exec(consumer, names)
    assert names["TableConsumer"].max_members == 4
    exec(options, names)
    settings.DJANGO_HUB = names["DJANGO_HUB"]
    assert (get_settings().PROXIES, get_settings().JOINS_HALF_LIFE) == (1, 30.0)


def test_the_table_has_all_of_them_with_defaults_and_codes():
    assert {int(code) for *_, code in ROWS} == closes.CROWDED
    for name, default, _ in ROWS:
        value = getattr(HubConsumer if name.islower() else Settings(), name)
        assert default.strip("`") == str(value)


@pytest.mark.parametrize("name", [name for name, *_ in ROWS if name.isupper()])
def test_the_settings_say_the_same(name):
    assert f"| `{name}` | {getattr(Settings(), name)} |" in PROMISES


def test_the_tests_that_security_names_are_there():
    security = (ROOT / "SECURITY.md").read_text()
    named = re.findall(r"`(tests/[\w./]+)`", security)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
