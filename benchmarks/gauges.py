"""What a process, with all processes it started, uses of the machine (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path


def family(pid: int) -> list[int]:
    """It and its descendants: some servers do their work in a child."""
    pids = [pid]
    for each in pids:
        for tasks in _numbers(Path(f"/proc/{each}/task")):
            try:
                pids += map(int, Path(f"/proc/{each}/task/{tasks}/children").read_text().split())
            except OSError:
                continue
    return pids


def cpu_seconds(pid: int) -> float:
    """Processor time used so far, in the kernel too; to the nanosecond where the kernel counts so."""
    return sum(map(_cpu, family(pid)))


def _cpu(pid: int) -> float:
    try:
        return (
            sum(
                int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])
                for task in _numbers(Path(f"/proc/{pid}/task"))
            )
            / 1e9
        )
    except (OSError, IndexError):
        times = os.sysconf("SC_CLK_TCK")
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / times


def memory(pid: int) -> int:
    """Bytes of memory, those shared with other processes by their share."""
    return sum(_field(each, "smaps_rollup", "Pss:") for each in family(pid))


def quiet_memory(pid: int, still: float = 1.0, patience: float = 15.0) -> int:
    """The memory when it has not changed for ``still`` seconds: what comes and goes is over."""
    deadline = time.monotonic() + patience
    last, since = memory(pid), time.monotonic()
    while time.monotonic() - since < still and time.monotonic() < deadline:
        time.sleep(0.1)
        if (now := memory(pid)) != last:
            last, since = now, time.monotonic()
    return last


def resident(pid: int) -> int:
    return sum(_field(each, "status", "VmRSS:") for each in family(pid))


def peak(pid: int) -> int:
    """The most that was resident since `forget_peak`."""
    return sum(_field(each, "status", "VmHWM:") for each in family(pid))


def forget_peak(pid: int) -> None:
    for each in family(pid):
        Path(f"/proc/{each}/clear_refs").write_text("5")


def _field(pid: int, file: str, name: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/{file} has no {name}")


def _numbers(directory: Path) -> Iterator[int]:
    try:
        names = [each.name for each in directory.iterdir()]
    except OSError:
        return
    yield from map(int, filter(str.isdigit, names))
