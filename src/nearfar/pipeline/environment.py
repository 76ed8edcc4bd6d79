"""What a run ran on."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nearfar._version import __version__
from nearfar.files import write_atomic

__all__ = ["environment", "write_environment"]

PACKAGES = ("torch", "torchvision", "timm", "lightning", "numpy", "numba", "scikit-learn", "faiss-cpu", "pillow")


def environment() -> dict[str, object]:
    """Return versions, machine and threads as plain values."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "nearfar": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": gpus,
        "packages": {name: _version(name) for name in PACKAGES},
        "command": sys.argv,
    }


def write_environment(path: Path) -> None:
    """Write `environment` as JSON."""
    write_atomic(path, json.dumps(environment(), indent=2))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
