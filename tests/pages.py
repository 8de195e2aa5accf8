"""The pages of the docs, and the code in them: as blocks, as a project's files, or as a module that is run.

A page is one module, from top to bottom, which may await. What it needs and a reader does not stands in
comments: <!--- invisible-code-block: python … -->
"""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.example import Example
from sybil.parsers.myst import CodeBlockParser

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def text(page: str | Path) -> str:
    """``page``: its path from the repository's root."""
    return (ROOT / page).read_text()


def blocks(page: str | Path, languages: str) -> list[str]:
    """Those that are marked so; ``languages`` is a regular expression."""
    found = re.findall(rf"^```(?:{languages})\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)
    return [block.removesuffix("\n") for block in found]


def block_after(page: str | Path, words: str, language: str = "python") -> str:
    """The first block behind these words."""
    pattern = rf"{re.escape(words)}.*?^```{language}\n(.*?)^```"
    found = re.search(pattern, text(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no {language} after {words!r}"
    return found[1]


def write_files(page: str | Path, folder: Path, package: str) -> list[str]:
    """Write out the files of ``package`` that the page shows, and return their names.

    A file's block follows the word that names it, as in: `board/models.py`.
    """
    names = list(dict.fromkeys(re.findall(rf"`({package}/\w+\.py)`", text(page))))
    (folder / package).mkdir(exist_ok=True)
    (folder / package / "__init__.py").touch()
    for name in names:
        (folder / name).write_text(block_after(page, f"`{name}`"))
    return names


def _unused(example: Example) -> None:
    raise NotImplementedError("they are run by the test, in its event loop")


_SNIPPETS = Sybil(parsers=[CodeBlockParser("python", evaluator=_unused)])


def snippets(page: str | Path) -> list[Example]:
    """All Python of the page, what a reader does not see included."""
    return list(_SNIPPETS.parse(ROOT / page).examples())


async def run(page: str | Path, **names: Any) -> dict[str, Any]:
    """Run the page with these names, and return all that it has then."""
    names["__name__"] = Path(page).stem.replace("-", "_")
    for example in snippets(page):
        # Lines as in the page, for who reads the traceback.
        source = "\n" * (example.line + example.parsed.line_offset) + example.parsed
        code = compile(source, ROOT / page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        running = eval(code, names)
        if inspect.iscoroutine(running):
            await running
    return names
