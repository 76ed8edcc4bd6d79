"""What a benchmark writes down, so that a number never stands without its machine, command and commit.

A script measures and calls `write`; ``python -m benchmarks.report`` turns everything written into RESULTS.md. Run
scripts from the repository's root as modules: ``uv run python -m benchmarks.NAME``.

    from benchmarks.record import Timer, environment, peak_memory_mib, table, write

    with Timer() as timer:
        accuracy = measure()
    rows = [["simclr", accuracy, timer.seconds, peak_memory_mib()]]
    write("simclr", title="SimCLR on ...", tables=[table("kNN accuracy", ["method", "accuracy", "s", "MiB"], rows)],
          notes=["seeds 0, 1, 2; mean over seeds; test split of 10,000"])
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import re
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nearfar.errors import require
from nearfar.files import write_atomic

__all__ = ["RESULTS", "Timer", "environment", "peak_memory_mib", "table", "write"]

HERE = Path(__file__).parent
RESULTS = HERE / "results"
"""Where each benchmark's JSON file stands."""

PACKAGES = ("torch", "torchvision", "lightning", "timm", "numpy", "scikit-learn", "faiss-cpu")


class Timer:
    """Wall-clock seconds of a ``with`` block; on CUDA the device is waited for on both sides."""

    seconds = 0.0

    def __enter__(self) -> Timer:
        _wait_for_device()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        _wait_for_device()
        self.seconds = time.perf_counter() - self._start


def _wait_for_device() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_memory_mib() -> float:
    """Return the largest resident memory this process has had, in MiB (so measure one thing a process)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def environment() -> dict[str, Any]:
    """Return the machine, the versions, the commit and the day, as they go into every result."""
    import torch

    values: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "bf16 in hardware": "yes" if re.search(r"\b(amx_bf16|avx512_bf16)\b", _cpuinfo()) else "no",
        "memory": f"{_memory_gib():.0f} GiB",
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none",
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: found for name in PACKAGES if (found := _version(name))},
        "commit": _commit(),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }
    return values


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return one table as it is stored: cells are text, numbers or None (not measured)."""
    for row in rows:
        require(len(row) == len(columns), f"table {title!r}", "length of each row", f"{len(columns)}", len(row))
    return {"title": title, "columns": list(columns), "rows": [list(row) for row in rows]}


def write(
    name: str,
    *,
    title: str,
    tables: Sequence[Mapping[str, Any]],
    notes: Sequence[str] = (),
    command: str | None = None,
    measured_on: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``benchmarks/results/NAME.json``, all at once, and return its path.

    Args:
        name: lower-case name of the file; results are listed in the order of their names.
        title: what was measured, as a heading.
        tables: what `table` returned.
        notes: protocol, seeds, departures: whatever a reader needs to judge the numbers.
        command: how to measure again; by default the command that runs now.
        measured_on: what `environment` returned on the machine that measured; by default this machine.
    """
    require(
        re.fullmatch(r"[a-z0-9_]+", name) is not None, "write", "name", "lower-case letters, digits and _", repr(name)
    )
    record = {
        "name": name,
        "title": title,
        "command": command or _command(),
        "environment": dict(measured_on or environment()),
        "tables": [table(one["title"], one["columns"], one["rows"]) for one in tables],
        "notes": list(notes),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    write_atomic(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n")
    return path


def _plain(value: Any) -> Any:
    """Turn a numpy or torch scalar into a Python number."""
    return value.item()


def _command() -> str:
    script = Path(sys.argv[0]).stem or "NAME"
    given = ("FOLDER" if Path(word).is_absolute() else word for word in sys.argv[1:])
    return " ".join(["uv run python -m", f"benchmarks.{script}", *given])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "../src")
        return git("rev-parse", "--short=12", "HEAD") + (" with changes in src" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), flags=re.MULTILINE)
    return found.group(1) if found else platform.processor() or platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
