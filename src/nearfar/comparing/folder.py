"""The folder of a comparison, in which everything that was done is found again.

::

    DIR/compare.yaml              the settings; a call with others is refused, but for more seeds or methods
    DIR/data.npz                  images that were given in memory
    DIR/runs/METHOD-SEED/         ordinary run folders
    DIR/probes/METHOD.json        how long an epoch takes, where the budget is minutes
    DIR/costs/METHOD-SEED.json    peak memory of the run's process
    DIR/scratch/SEED/             training on labels alone, part by part
    DIR/results/NAME.json         the scores of a run or a baseline
    DIR/table.csv, table.md, results.json, report.html
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nearfar.errors import ConfigError
from nearfar.files import write_atomic
from nearfar.pipeline.work_folder import as_read_again, locked, settings_before, write_settings
from nearfar.training.run import Run

__all__ = ["Folder", "read_json", "write_json"]


class Folder:
    """A comparison on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "compare.yaml"
        self.data = path / "data.npz"

    def run(self, method: str, seed: int) -> Run:
        """Return the run of a method and a seed, which need not exist yet."""
        return Run(self.path / "runs" / f"{method}-{seed}")

    def probe(self, name: str) -> Path:
        """Return where the time of an epoch stands."""
        return self.path / "probes" / f"{name}.json"

    def cost(self, method: str, seed: int) -> Path:
        """Return where a run's peak memory stands."""
        return self.path / "costs" / f"{method}-{seed}.json"

    def scratch(self, seed: int) -> Path:
        """Return the folder of what is trained on labels alone."""
        return self.path / "scratch" / str(seed)

    def result(self, name: str, seed: int) -> Path:
        """Return where the scores of a method or a baseline stand."""
        return self.path / "results" / f"{name}-{seed}.json"

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out, as `nearfar.pipeline.work_folder.locked`."""
        return locked(self.path, "comparison")

    def claim(self, values: Mapping[str, Any]) -> None:
        """Write the settings down, or see that they are those that the comparison was begun with.

        Where nothing was trained yet, others take their place. Methods that were not in it before join; what is
        written down of the others stays.

        Args:
            values: ``settings``, ``data`` and ``methods``, each a mapping.

        Raises:
            ConfigError: when a setting differs; the sentence names it.
            RunError: when the folder holds something else.
        """
        before = settings_before(self.settings, "a comparison")
        if before is not None:
            now, known = as_read_again(values), before["methods"] or {}
            together = {**known, **now["methods"]}
            common = {name: own for name, own in now["methods"].items() if name in known}
            differs = next(_differences(before, {**now, "methods": {**known, **common}}), None)
            if differs is None:
                if together.keys() != known.keys():
                    write_settings(self.settings, {**values, "methods": together})
                return
            if self._begun():
                fix = "give the same, or choose another --out"
                raise ConfigError(f"{self.path}: the comparison was begun with {differs}; {fix}")
            for old in (*self.path.glob("probes/*.json"), self.data):
                old.unlink(missing_ok=True)
        write_settings(self.settings, values)

    def _begun(self) -> bool:
        return any(self.path.glob("runs/*/config.yaml")) or any(self.path.glob("results/*.json"))


def read_json(path: Path) -> dict[str, Any] | None:
    """Return what a file holds, or ``None`` when there is none or it is damaged: it is then made again."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping all at once, and the folder it stands in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(content, indent=2, ensure_ascii=False))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Yield what differs in words, in the order of the settings."""
    for name in [*now, *(key for key in before if key not in now)]:
        old, new = before.get(name), now.get(name)
        nested = isinstance(old, dict) and isinstance(new, dict)
        if nested and name in ("settings", "methods") and not where:
            yield from _differences(old, new, name)  # type: ignore[arg-type]
        elif old != new and where == "methods":
            yield f"other settings of {name} ({old}), which are now {new}"
        elif old != new and name == "data":
            yield "other data (names, labels or content)"
        elif old != new:
            yield f"{name.replace('_', '-')} {_shown(old)}, got {_shown(new)}"


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
