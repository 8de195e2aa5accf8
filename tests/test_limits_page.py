"""docs/howto/limits.md and the table of settings: what they say is what is."""

import re

import pytest

from django_hub import closes
from django_hub.conf import Settings, get_settings
from django_hub.consumers import HubConsumer
from tests.pages import run, text

PAGE = text("docs/howto/limits.md")
PROMISES = text("docs/promises.md")
ROWS = re.findall(
    r"^\| [^|]+ \| `(?:DJANGO_HUB\[\"|HubConsumer\.)(\w+)[^|]* \| (\S+) \| (\d+) \|$", PAGE, re.M
)


async def test_its_python_says_what_the_text_says(settings):
    page = await run("docs/howto/limits.md")
    assert page["TableConsumer"].max_members == 4
    settings.DJANGO_HUB = page["DJANGO_HUB"]
    assert (get_settings().PROXIES, get_settings().JOINS_HALF_LIFE) == (1, 30.0)


def test_the_table_has_all_of_them_with_defaults_and_codes():
    assert {int(code) for *_, code in ROWS} == closes.CROWDED
    for name, default, _ in ROWS:
        value = getattr(HubConsumer if name.islower() else Settings(), name)
        assert default.strip("`") == str(value)


@pytest.mark.parametrize("name", [name for name, *_ in ROWS if name.isupper()])
def test_the_settings_say_the_same(name):
    assert f"| `{name}` | {getattr(Settings(), name)} |" in PROMISES
