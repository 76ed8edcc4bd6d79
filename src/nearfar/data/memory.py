"""How much memory is left, and sizes in words."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_bytes", "size_text"]

_GIB = 1 << 30


def available_bytes() -> int:
    """Return the bytes of memory that this process can still take: the machine's or its container's, if less."""
    found = [amount for amount in (_machine(), _container()) if amount is not None]
    return min(found, default=4 * _GIB)


def size_text(count: float) -> str:
    """Return a number of bytes for people: ``154 MB``, ``12.3 GB``."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def _machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _container() -> int | None:
    """Return what a control group of version 2 leaves."""
    folder = Path("/sys/fs/cgroup")
    try:
        return int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None
