"""Processes under measurement: how much memory and processor time they have taken."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Of one process: resident memory now and at its highest, and processor time."""

    resident_mb: float
    peak_mb: float
    cpu_s: float


def usage(pid: int) -> Usage:
    """Return what a process uses; from /proc where there is one, else from ``ps`` without the peak."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return _usage_by_ps(pid)
    memory = dict(line.split(":", 1) for line in status.read_text().splitlines())
    # The command stands in parentheses and may hold spaces; what follows it is numbers.
    numbers = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage(
        resident_mb=_kilobytes(memory["VmRSS"]) / 1024,
        peak_mb=_kilobytes(memory["VmHWM"]) / 1024,
        cpu_s=(int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK"),
    )


def others_busy_percent(seconds: float = 1.0) -> float | None:
    """Return how busy the machine is with other things, watched for a while; None where unknown."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    if before is None or after is None or before == after:
        return None
    total, idle = after[0] - before[0], after[1] - before[1]
    return 100 * (total - idle) / total


def _ticks() -> tuple[int, int] | None:
    """Return all ticks of the processors, and the idle ones."""
    file = Path("/proc/stat")
    if not file.exists():
        return None
    numbers = [int(each) for each in file.read_text().split("\n", 1)[0].split()[1:9]]
    return sum(numbers), numbers[3] + numbers[4]


def _kilobytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0])


def _usage_by_ps(pid: int) -> Usage:
    command = ["ps", "-o", "rss=", "-p", str(pid)]
    resident = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return Usage(resident_mb=resident / 1024, peak_mb=resident / 1024, cpu_s=0.0)
