"""The docs: their Python is run, their links lead somewhere, their tables say what the code says."""

import ast
import inspect
import pkgutil
import re
from dataclasses import fields
from pathlib import Path

import pytest

import django_hub
from django_hub import checks, closes
from django_hub.conf import Settings
from tests.apps import world  # noqa: F401 (a fixture)
from tests.pages import PAGES, ROOT, run, snippets, text

DOCS = ROOT / "docs"
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PROMISES = text("docs/promises.md")


def name_of(page):
    return page.relative_to(ROOT).with_suffix("").as_posix()


# Snippets


# It is a project of its own, with a model: tests/testing/test_docs.py runs it whole.
ELSEWHERE = DOCS / "howto/test.md"
WITH_SNIPPETS = [page for page in PAGES if snippets(page) and page != ELSEWHERE]


@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=name_of)
async def test_the_python_of_a_page_runs(page, world):  # noqa: F811
    await run(page, world=world)


def test_each_python_block_is_among_them():
    for page in PAGES:
        marked = re.findall(
            r"^ *```+ *\{?(?:python|py|pycon)\b|^<!---.*: python$", text(page), re.MULTILINE
        )
        assert len(snippets(page)) == len(marked), page


# Links


def prose(page):
    """Without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """As GitHub and MyST make them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*FRONT, *PAGES], ids=name_of)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)", prose(page)):
        path = (page.parent / target).resolve() if target else page
        if (ROOT / "django_hub") in path.parents:  # it may be installed elsewhere
            path = Path(django_hub.__file__).parent / path.relative_to(ROOT / "django_hub")
        assert path.exists(), f"{page.name} links to {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{page.name} links to {target}#{anchor}"


# What could go stale


def rows(heading, pattern):
    section = PROMISES.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(pattern, section, re.MULTILINE)


def test_the_settings_are_those_there_are():
    told = dict(rows("Settings", r"^\| `(\w+)` \| ([^|]*) \|"))
    known = {field.name: field.default for field in fields(Settings)}
    assert set(told) == set(known)
    del told["JSON_ENCODER"]
    for name, default in told.items():
        assert ast.literal_eval(default.strip().strip("`")) == known[name], name
    assert all(f"``{name}``" in Settings.__doc__ for name in known)


def test_the_close_codes_are_those_there_are():
    told = [int(code) for code in rows("Close codes", r"^\| (\d{4}) \|")]
    names = [name for name in vars(closes) if name.isupper() and not name.startswith("_")]
    mine = {code for name in names if isinstance(code := getattr(closes, name), int)}
    # Servers and networks close with these, not hubs.
    others = {closes.GOING_AWAY, closes.BROKEN, closes.SERVICE_RESTART}
    assert told == sorted(mine - others)


def test_the_checks_are_those_there_are():
    told = rows("Checks", r"^\| `(django_hub\.\w+)` \|")
    assert sorted(told) == sorted(set(re.findall(r'id="(django_hub\.\w+)"', inspect.getsource(checks))))


def test_the_reference_has_all_names():
    pages = "".join(text(f"docs/reference/{name}.md") for name in ("api", "events"))
    named = re.findall(r"^\.\. auto\w+:: (\w+)(?:\(\))?$", pages, re.MULTILINE)
    assert sorted(named) == django_hub.__all__


def test_each_event_has_its_row():
    page = text("docs/reference/events.md")
    told = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE))
    methods = [name for name in vars(django_hub.HubEvents) if name.startswith("hub_")]
    assert sorted(told.values()) == sorted(methods)
    assert all(f"event: {event})" in inspect.getsource(django_hub.HubEvents) for event in told)


def test_the_readers_map_has_all_modules():
    (table,) = re.findall(r"^\| what \| files \|$.*?^$", text("docs/explanation/floors.md"), re.M | re.S)
    here = {module.name for module in pkgutil.iter_modules(django_hub.__path__)}
    assert set(re.findall(r"`(\w+)`", table)) == here


def test_each_row_of_the_threats_names_tests_that_are_there():
    section = text("SECURITY.md").split("\n## What is protected")[1].split("\n## ")[0]
    _, _, *threats = [line for line in section.splitlines() if line.startswith("|")]
    assert len(threats) > 10
    for threat in threats:
        *_, shown_in, _ = threat.split("|")
        named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown_in)
        assert named, f"shown by no test: {threat}"
        assert len(named) == shown_in.count("`") / 2, f"not as file::test: {shown_in}"
        for file, test in named:
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            there = {node.name for node in ast.walk(ast.parse(text(file))) if isinstance(node, functions)}
            assert test in there, f"no {test} in {file}"
