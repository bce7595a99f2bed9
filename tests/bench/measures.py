"""What is measured about processes and times."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that so many percent do not pass (nearest rank); NaN of none."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def median(values: Iterable[float]) -> float:
    return percentile(values, 50)


def family(root: int) -> list[int]:
    """Return a process and all that it has started, which still live."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(child) for child in task.read_text().split()]
    return found


def memory_kb(pids: Sequence[int], kind: str = "Pss") -> int:
    """Return the sum of Pss or Rss. Pss shares what several processes have in common among them."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{kind}:"):
                    total += int(line.split()[1])
    return total


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return what these processes have used so far, in user and kernel mode."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def threads(pids: Sequence[int]) -> int:
    return sum(len(list(Path(f"/proc/{pid}/task").glob("*"))) for pid in pids)


class CpuShare:
    """The share of one core that processes use from now on, in percent."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.pids = list(pids)
        self.used, self.since = cpu_seconds(self.pids), time.monotonic()

    def percent(self) -> float:
        return 100 * (cpu_seconds(self.pids) - self.used) / (time.monotonic() - self.since)


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    model = next((x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")), ":?")
    kb = int(next(x for x in Path("/proc/meminfo").read_text().splitlines() if x.startswith("MemTotal")).split()[1])
    return {
        "cpu": f"{os.cpu_count()} x {model.split(':', 1)[1].strip()}",
        "memory": f"{kb / 1024 / 1024:.0f} GiB",
        "kernel": os.uname().release,
        "load before": " ".join(f"{n:.1f}" for n in os.getloadavg()),
    }
