"""The folder a run lives in.

::

    RUN/config.yaml           complete and resolved settings
    RUN/environment.json      versions, machine, threads
    RUN/metrics.jsonl         one row a logged step, one row an epoch
    RUN/tensorboard/          the same for TensorBoard
    RUN/inputs/               what is known about the items from the training rows: inputs.json, and a modality's files
    RUN/views.png             what the method saw
    RUN/skipped.csv           items that could not be read, and why
    RUN/checkpoints/          last.ckpt, from which --resume goes on
    RUN/head.safetensors      the projection head, with head.json, where it is a plain stack of layers
    RUN/encoder.safetensors   the encoder, with encoder.json; written at the end
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nearfar._version import __version__
from nearfar.config import dump_yaml, load_yaml
from nearfar.errors import ConfigError, RunError, require
from nearfar.files import write_atomic

__all__ = ["FORMAT", "Run"]

FORMAT = 1
"""The version of the folder's layout; a run of a later one is refused."""

_PASSING = re.compile(r"\..+\.\d+\.tmp")
_OURS = re.compile(
    r"config\.yaml|environment\.json|metrics\.jsonl|tensorboard|inputs|views\.png|skipped\.csv|checkpoints"
    r"|(encoder|head|classifier)\.(safetensors|json)|evaluation(-\w+)?\.json|wandb"
    r"|labels\.csv|pseudo-labels-\d+\.csv|scores\.json|teacher-logits\.npz|predictions\.npz"
)


class Run:
    """A run folder; get one from `Run.create` or `Run.open`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def claim(cls, path: Path, *, overwrite: bool = False) -> None:
        """Refuse a folder that `create` would refuse; nothing is written or deleted.

        Args:
            path: the folder.
            overwrite: whether a run that is there may be deleted.

        Raises:
            RunError: when there is something that is no run, a run that may not be deleted, or a run with other files.
        """
        try:
            names = [entry.name for entry in path.iterdir() if not _PASSING.fullmatch(entry.name)]
        except FileNotFoundError:
            return
        except OSError as error:
            raise RunError(f"{path}: must be a new or empty folder ({error.strerror}); choose another --out") from None
        if not names:
            return
        is_run = _is_config(path / "config.yaml")
        if not overwrite:
            fix = "add --resume to go on, --overwrite to start again" if is_run else "choose another --out"
            got = f"one with {'a run' if is_run else 'files'}"
            raise RunError(f"{path}: must be a new or empty folder, got {got}; {fix}")
        what = "what --overwrite deletes"
        require(is_run, str(path), what, "a run", "other files", "choose another --out", error=RunError)
        foreign = sorted(name for name in names if not _OURS.fullmatch(name))
        got = f"also {', '.join(foreign[:3])}"
        require(not foreign, str(path), what, "a run alone", got, "move them, or choose another --out", error=RunError)

    @classmethod
    def create(cls, path: Path, values: Mapping[str, Any], *, overwrite: bool = False) -> Run:
        """Make a run folder with its ``config.yaml``.

        Args:
            path: the folder; missing parents are made.
            values: the settings to write.
            overwrite: delete the run that is there; nothing but what a run consists of is ever deleted.

        Raises:
            RunError: when something else is there already, or the folder cannot be made.
        """
        cls.claim(path, overwrite=overwrite)
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            for entry in path.iterdir():
                if entry.name != "config.yaml":  # it goes last: what a kill leaves is still known for a run
                    shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        except OSError as error:
            raise RunError(f"{path}: cannot be made ({error.strerror}); choose another --out") from None
        run.write_config(values)
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open an existing run.

        Raises:
            RunError: when there is none, or a later version wrote it.
        """
        if not (path / "config.yaml").is_file():
            raise RunError(f"{path}: must be a run folder, got one without config.yaml; give the --out of a pretrain")
        run = cls(path)
        run.config()
        return run

    def write_config(self, values: Mapping[str, Any]) -> None:
        """Write ``config.yaml``: the layout's version, then the settings."""
        write_atomic(self.path / "config.yaml", dump_yaml({"format": FORMAT, "nearfar": __version__, **values}))

    def config(self) -> dict[str, Any]:
        """Return the settings of ``config.yaml``.

        Raises:
            RunError: when it cannot be read or a later version wrote it.
        """
        try:
            values = load_yaml(self.path / "config.yaml")
        except ConfigError as error:
            raise RunError(str(error)) from None
        found, version = values.pop("format", None), values.pop("nearfar", "an unknown version")
        ok = isinstance(found, int) and found <= FORMAT
        got = f"{found} (written by nearfar {version})"
        require(ok, str(self.path), "format", f"<= {FORMAT}", got, "use the nearfar that wrote it", error=RunError)
        return values

    @property
    def metrics_path(self) -> Path:
        """Where the metrics stand, one JSON object a line."""
        return self.path / "metrics.jsonl"

    def metrics(self) -> list[dict[str, Any]]:
        """Return the rows of ``metrics.jsonl``; a last line cut short by a kill is left out."""
        if not self.metrics_path.is_file():
            return []
        rows = []
        for line in self.metrics_path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that a resumed run goes on from."""
        return self.path / "checkpoints" / "last.ckpt"

    def cut_metrics(self, last_step: int) -> None:
        """Keep the rows up to a step: what comes after is trained, and written, again."""
        kept = [json.dumps(row) + "\n" for row in self.metrics() if row["step"] <= last_step]
        write_atomic(self.metrics_path, "".join(kept))

    @property
    def finished(self) -> bool:
        """Whether the encoder was written."""
        return (self.path / "encoder.json").is_file()


def _is_config(path: Path) -> bool:
    """Whether a file is a run's ``config.yaml``, of whatever version."""
    try:
        values = load_yaml(path)
    except ConfigError:
        return False
    return isinstance(values.get("format"), int) and {"nearfar", "method"} <= values.keys()
