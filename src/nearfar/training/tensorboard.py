"""Metrics for TensorBoard, written without its threads.

tensorboardX's own writer hands events to a thread through a queue of ``multiprocessing``. A Ctrl-C that arrives while
something is put into that queue leaves it locked, and the end of the run then waits for ever. Its file format is used
here directly: a row is in the file when the call returns, and a full disk is an error where it happens.
"""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from tensorboardX.event_file_writer import EventsWriter  # type: ignore[import-untyped]
from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboardX.summary import scalar  # type: ignore[import-untyped]

from nearfar.errors import RunError

__all__ = ["TensorBoardFile"]


class TensorBoardFile(Logger):
    """Scalars in an events file.

    Args:
        folder: where the file goes; it is made with the first row.
        resumed_at: the step that a resumed run goes on from; TensorBoard then hides what older files say after it.
    """

    def __init__(self, folder: Path, *, resumed_at: int | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.resumed_at = resumed_at
        self._writer: EventsWriter | None = None

    @property
    def name(self) -> str:
        """The name Lightning asks every logger for."""
        return "tensorboard"

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
            writer = self._open()
            for name, value in metrics.items():
                if math.isfinite(value):
                    writer.write_event(Event(wall_time=time.time(), step=step, summary=scalar(name, value)))
            writer.flush()
        except OSError as error:
            fix = "free some space, then --resume"
            raise RunError(f"{self.folder}: cannot be written ({error.strerror}); {fix}") from None

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the file; a later row opens another."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _open(self) -> EventsWriter:
        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            part = "" if self.resumed_at is None else f".{self.resumed_at}"  # two files of one second differ
            self._writer = EventsWriter(str(self.folder / "events"), part)
            if self.resumed_at is not None:
                start = SessionLog(status=SessionLog.START)
                self._writer.write_event(Event(wall_time=time.time(), step=self.resumed_at + 1, session_log=start))
        return self._writer
