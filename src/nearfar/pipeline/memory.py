"""How much memory this process took at most."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["peak_gpu_mib", "peak_memory_mib"]


def peak_memory_mib() -> float | None:
    """Return the most memory that this process held at once, in MiB; ``None`` where the system does not tell.

    On Linux this is VmHWM: what getrusage tells there begins with the memory of the process that started this one.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def peak_gpu_mib() -> float | None:
    """Return the most GPU memory that tensors of this process took at once, in MiB; ``None`` without a GPU."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
