"""What a run ran on."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nearfar._version import __version__
from nearfar.errors import RunError, require
from nearfar.files import write_atomic

__all__ = ["check_same_data", "environment", "write_environment"]

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


def write_environment(path: Path, *, data: str) -> None:
    """Write `environment` as JSON, with the digest of the data that the run was started on."""
    write_atomic(path, json.dumps({**environment(), "data_digest": data}, indent=2))


def check_same_data(path: Path, data: str) -> None:
    """Refuse to go on with other data than the run was started on; a run that does not tell is let pass.

    Raises:
        RunError: when the digest in the file is another.
    """
    try:
        before = json.loads(path.read_text(encoding="utf-8")).get("data_digest")
    except (OSError, ValueError, AttributeError):
        return
    must = "the data that the run was started on (names, labels and a sample of the content)"
    fix = "give that data, or start another run"
    require(before in (None, data), "--resume", "data", must, "other data", fix, error=RunError)


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
