"""The pages of the docs, and the blocks of code in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def blocks(page: str | Path, languages: str) -> list[str]:
    """Those that are marked so; ``languages`` is a regular expression."""
    found = re.findall(
        rf"^```(?:{languages})\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL
    )
    return [block.removesuffix("\n") for block in found]
