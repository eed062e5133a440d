"""What this process may use of the machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(root: Path = _CGROUP) -> int:
    """Return how many CPUs' worth of time this process gets, at least 1: affinity, cut by the cgroup's quota.

    Host core counts mislead in containers: with more threads than quota the kernel throttles all of them.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(root)
    return max(1, min(allowed, math.floor(quota + 0.5)) if quota else allowed)


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Return the processor's feature flags as Linux names them; empty where they cannot be read."""
    try:
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    except OSError:
        pass
    return frozenset()


def _quota(root: Path) -> float | None:
    try:
        first, period = (root / "cpu.max").read_text(encoding="ascii").split()
        return None if first == "max" else int(first) / int(period)
    except (OSError, ValueError):
        pass
    try:  # cgroup v1
        used = int((root / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii"))
        period_us = int((root / "cpu/cpu.cfs_period_us").read_text(encoding="ascii"))
        return used / period_us if used > 0 else None
    except (OSError, ValueError):
        return None
