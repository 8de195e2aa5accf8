"""What was measured on, in words."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from benchmarks import stage
from benchmarks.peers import PEERS

_PACKAGES = ("django", "channels", "channels-redis", "daphne", "uvicorn", "uvloop", "hypercorn", "granian")


def machine() -> str:
    cores = len(stage.CORES)
    return f"{cores} core{'s' * (cores != 1)} of {_processor()}, Linux {platform.release().split('-')[0]}"


def versions() -> str:
    found = [f"{platform.python_implementation()} {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join([*found, *(f"{peer.name} {peer.version()}" for peer in PEERS if not peer.missing())])


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
