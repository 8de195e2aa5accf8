"""How Sphinx makes the docs: ``sphinx-build -W docs build/docs``, or ``tox -e docs``."""

import ast
import itertools
import os
import re
import sys
import textwrap
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import django
from pygments.lexers import TextLexer

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

project = "django_hub"
author = "django_hub contributors"
copyright = "django_hub contributors"  # noqa: A001 (Sphinx calls it so)
version = release = version_of("django-hub")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
# Headings have the anchors that they have on GitHub: the same links hold in both places.
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"django_hub {version}"
html_show_sourcelink = False

# A name in single backticks is looked up, and plain code where there is none.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True


def link_to_files(app: Any, docname: str, source: list[str]) -> None:
    """What the docs link to elsewhere in the repository goes along as a file; for a folder its README."""

    def linked(match: re.Match[str]) -> str:
        path = (Path(app.env.doc2path(docname)).parent / match[1]).resolve()
        if DOCS in path.parents or path.suffix not in ("", ".md"):
            return match[0]
        readme = "/README.md" if path.is_dir() else ""
        return f"](path:{match[1]}{readme})"

    source[0] = re.sub(r"\]\((\.\./[^)#]+)(?:#[^)]*)?\)", linked, source[0])


def mark_code(*args: Any) -> None:
    """In docstrings what is indented behind an empty line is code; Sphinx takes it for a quotation."""
    lines: list[str] = args[-1]
    marked: list[str] = []
    inside = False
    for number, line in enumerate(lines):
        if line.strip():
            indented = line.startswith("    ")
            if indented and not inside and number and not lines[number - 1].strip():
                marked += [f".. code-block:: {language_of(lines[number:])}", ""]
            inside = indented
        marked.append(line)
    lines[:] = marked


def language_of(lines: list[str]) -> str:
    """Of the indented block with which these begin."""
    block = itertools.takewhile(lambda line: not line.strip() or line.startswith("    "), lines)
    try:
        compile(textwrap.dedent("\n".join(block)), "", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        return "text"
    return "python"


def setup(app: Any) -> None:
    # The protocol's examples are marked for its test.
    for name in ("binary", "exchange"):
        app.add_lexer(name, TextLexer)
    app.connect("source-read", link_to_files)
    app.connect("autodoc-process-docstring", mark_code)
