"""Where numbers go while a run trains: ``metrics.jsonl``, TensorBoard, and trackers behind extras."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from nearfar.errors import ConfigError, extra, nearest
from nearfar.training.run import Run

__all__ = ["TRACKERS", "JsonlLogger", "build_loggers"]

TRACKERS = ("wandb", "mlflow")
"""Trackers that a flag adds; each needs the extra of its name."""


class JsonlLogger(Logger):
    """One JSON object a line, appended and flushed row by row."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        """The name Lightning asks every logger for."""
        return "jsonl"

    @property
    def version(self) -> str:
        """The version Lightning asks every logger for."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Settings stand in config.yaml; nothing is written here."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def cut(self, rows: Sequence[Mapping[str, Any]], last_step: int) -> None:
        """Keep the rows up to a step: what comes after is trained, and written, again."""
        kept = [json.dumps(row) for row in rows if row["step"] <= last_step]
        self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def build_loggers(run: Run, trackers: Sequence[str], *, resumed_at: int | None) -> list[Logger]:
    """Return the loggers of a run.

    Args:
        run: the run folder.
        trackers: names from `TRACKERS`.
        resumed_at: the step that a resumed run goes on from; later rows are dropped.

    Raises:
        ConfigError: on an unknown tracker.
        MissingExtraError: when a tracker is not installed.
    """
    jsonl = JsonlLogger(run.metrics_path)
    if resumed_at is not None:
        jsonl.cut(run.metrics(), resumed_at)
    purge: dict[str, Any] = {} if resumed_at is None else {"purge_step": resumed_at + 1}
    loggers: list[Logger] = [
        jsonl,
        TensorBoardLogger(save_dir=run.path, name="tensorboard", version="", **purge),
    ]
    for tracker in trackers:
        if tracker not in TRACKERS:
            raise ConfigError(f"track: must be {' or '.join(TRACKERS)}, got {tracker!r}; {nearest(tracker, TRACKERS)}")
        extra(tracker, tracker, f"--track {tracker}")
        if tracker == "wandb":
            loggers.append(WandbLogger(project="nearfar", name=run.path.name, save_dir=run.path))
        else:
            loggers.append(MLFlowLogger(experiment_name="nearfar", run_name=run.path.name))
    return loggers
