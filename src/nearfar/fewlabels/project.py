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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearfar.errors import ConfigError
from nearfar.fewlabels.settings import LabelChoice
from nearfar.pipeline.work_folder import as_read_again, locked, settings_before, write_settings

__all__ = ["Amount", "Project"]


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

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep other processes out, as `nearfar.pipeline.work_folder.locked`."""
        return locked(self.path, "process")

    def claim(self, values: Mapping[str, Any]) -> None:
        """Write the settings down, or see that they are those that the folder was begun with.

        Raises:
            ConfigError: when one differs; the sentence names it.
            RunError: when the folder holds something else.
        """
        now = as_read_again(values)
        before = settings_before(self.settings, "one of nearfar semi")
        if before is None:
            write_settings(self.settings, now)
            return
        for name, value in now.items():
            if before.get(name) != value:
                what = _difference(name, before.get(name), value)
                fix = "give the same, or choose another --out"
                raise ConfigError(f"{self.path}: the phases were begun with {what}; {fix}")


def _difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        key = next(key for key in now if before.get(key) != now[key])
        return f"{key.replace('_', '-')} {before.get(key)}, got {now[key]}"
    return {"data": "other data (names, labels or content)"}.get(name, f"another {name}")
