"""The folder of the three phases, in which everything that was done is found again.

::

    DIR/semi.yaml                       the settings; a call with others is refused
    DIR/pretrained/                     the first phase, an ordinary run folder
    DIR/AMOUNT-DRAW/finetuned/          the second, a run folder with a classifier
    DIR/AMOUNT-DRAW/distilled/          the third; student/ beside it where one is asked for
    DIR/AMOUNT-DRAW/scratch/            baselines: from scratch, fixmatch/, self-training/, and on frozen features
    DIR/AMOUNT-DRAW/linear-probe/       ... what the folders have in common: scores.json and predictions.npz
    DIR/costs.json                      parameters and throughput
    DIR/results.json, table.csv, report.html
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nearfar._version import __version__
from nearfar.config import dump_yaml, load_yaml
from nearfar.errors import ConfigError, RunError
from nearfar.fewlabels.settings import LabelChoice
from nearfar.files import write_atomic

__all__ = ["Amount", "Project"]

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Amount:
    """How many labels, and which draw of them.

    Attributes:
        name: in words: ``"10 per class"``.
        folder: as the folders begin: ``"10-per-class"``.
        choice: what is drawn.
    """

    name: str
    folder: str
    choice: LabelChoice

    @classmethod
    def of(cls, choice: LabelChoice, draw: int) -> Amount:
        """Return the amount of a choice, with that draw."""
        choice = dataclasses.replace(choice, draw=draw)
        if choice.per_class is not None:
            return cls(f"{choice.per_class} per class", f"{choice.per_class}-per-class", choice)
        if choice.fraction is not None:
            return cls(f"{choice.fraction:.4g} of the labels", f"{choice.fraction:.4g}-of-all", choice)
        return cls("all given labels", "all-given", choice)

    @property
    def place(self) -> str:
        """The name of its folder."""
        return f"{self.folder}-{self.choice.draw}"


class Project:
    """Three phases on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "semi.yaml"

    def phase(self, amount: Amount, name: str) -> Path:
        """Return the folder of a phase or a baseline."""
        return self.path / amount.place / name.replace(" ", "-")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out.

        Raises:
            RunError: when the folder cannot be made, or another process is at work in it.
        """
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / ".lock").acquire(timeout=0):
                yield
        except Timeout:
            raise RunError(f"{self.path}: another process is at work in this folder; wait for it") from None
        except (FileExistsError, NotADirectoryError, PermissionError) as error:
            fix = "choose another --out"
            raise RunError(f"{self.path}: must be a folder to write to ({error.strerror}); {fix}") from None

    def claim(self, values: Mapping[str, Any]) -> None:
        """Write the settings down, or see that they are those that the folder was begun with.

        Raises:
            ConfigError: when one differs; the sentence names it.
            RunError: when the folder holds something else.
        """
        import yaml

        now: dict[str, Any] = yaml.safe_load(dump_yaml(values))  # as they look after a round through YAML
        if self.settings.is_file():
            before = self._before()
            for name, value in now.items():
                if before.get(name) != value:
                    what = _difference(name, before.get(name), value)
                    fix = "give the same, or choose another --out"
                    raise ConfigError(f"{self.path}: the phases were begun with {what}; {fix}")
            return
        others = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith("."))
        if others:
            got = f"one with {', '.join(others[:3])}"
            raise RunError(f"{self.path}: must be a new folder or one of nearfar semi, got {got}; choose another --out")
        write_atomic(self.settings, dump_yaml({"format": FORMAT, "nearfar": __version__, **now}))

    def _before(self) -> dict[str, Any]:
        try:
            values = load_yaml(self.settings)
        except ConfigError as error:
            raise RunError(f"{error}; choose another --out") from None
        version = values.pop("nearfar", "an unknown version")
        if values.pop("format", None) != FORMAT:
            raise RunError(f"{self.path}: was written by nearfar {version}; use that, or choose another --out")
        return values


def _difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        key = next(key for key in now if before.get(key) != now[key])
        return f"{key.replace('_', '-')} {before.get(key)}, got {now[key]}"
    return {"data": "other data (names, labels or content)"}.get(name, f"another {name}")
