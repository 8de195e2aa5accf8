"""What comes from npm goes into ``node_modules`` beside a peer's ``package.json``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

INSTALL_ALL = "python -m benchmarks.peers install"


def install(folder: Path) -> Sequence[Sequence[str]]:
    return (("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--prefix", str(folder)),)


def missing(folder: Path, package: str) -> Callable[[], str]:
    def missing() -> str:
        if _described(folder, package).exists():
            return ""
        return f"npm's {package} is not installed: `{INSTALL_ALL}`"

    return missing


def version(folder: Path, package: str) -> Callable[[], str]:
    def version() -> str:
        found: str = json.loads(_described(folder, package).read_text())["version"]
        return found

    return version


def _described(folder: Path, package: str) -> Path:
    return folder / "node_modules" / package / "package.json"
