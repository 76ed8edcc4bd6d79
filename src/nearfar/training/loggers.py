"""Where numbers go while a run trains: ``metrics.jsonl``, TensorBoard, and trackers behind extras."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from nearfar.distributed import launched_rank
from nearfar.errors import RunError, extra
from nearfar.training.run import Run
from nearfar.training.tensorboard import TensorBoardFile

__all__ = ["JsonlLogger", "build_loggers"]


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
        """Append one row.

        Raises:
            RunError: when the file system refuses.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **metrics}) + "\n")
        except OSError as error:
            raise RunError(
                f"{self.path}: cannot be written ({error.strerror}); free some space, then --resume"
            ) from None


def build_loggers(run: Run, trackers: Sequence[str], *, resumed_at: int | None) -> list[Logger]:
    """Return the loggers of a run.

    Args:
        run: the run folder.
        trackers: any of ``"wandb"`` and ``"mlflow"``; each needs the extra of its name.
        resumed_at: the step that a resumed run goes on from; later rows are dropped.

    Raises:
        MissingExtraError: when a tracker is not installed.
    """
    jsonl = JsonlLogger(run.metrics_path)
    if resumed_at is not None and launched_rank() == 0:
        run.cut_metrics(resumed_at)
    loggers: list[Logger] = [jsonl, TensorBoardFile(run.path / "tensorboard", resumed_at=resumed_at)]
    for tracker in trackers:
        extra(tracker, tracker, f"--track {tracker}")
        if tracker == "wandb":
            loggers.append(WandbLogger(project="nearfar", name=run.path.name, save_dir=run.path))
        else:
            # MLflow's folder of files takes no new runs any more; an address in the environment goes before this one
            place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(run.path / 'mlflow.db').absolute()}"
            loggers.append(MLFlowLogger(experiment_name="nearfar", run_name=run.path.name, tracking_uri=place))
    return loggers
