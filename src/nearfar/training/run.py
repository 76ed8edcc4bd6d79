"""The folder a run lives in.

::

    RUN/config.yaml           complete and resolved settings
    RUN/environment.json      versions, machine, threads
    RUN/metrics.jsonl         one row a logged step, one row an epoch
    RUN/tensorboard/          the same for TensorBoard
    RUN/views.png             what the method saw
    RUN/skipped.csv           files that could not be read, and why
    RUN/checkpoints/          last.ckpt, from which --resume goes on
    RUN/encoder.safetensors   the encoder, with encoder.json; written at the end
"""

from __future__ import annotations

import json
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


class Run:
    """A run folder; make one with `Run.create` or `Run.open`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, *, overwrite: bool = False) -> Run:
        """Make an empty run folder.

        Args:
            path: the folder; missing parents are made.
            overwrite: delete the run that is there; only a folder that holds a run is ever deleted.

        Raises:
            RunError: when something is there already, or the folder cannot be made.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            is_run = (path / "config.yaml").is_file()
            if not overwrite:
                fix = "add --resume to go on, --overwrite to start again" if is_run else "choose another --out"
                raise RunError(
                    f"{path}: must be a new or empty folder, got one with {'a run' if is_run else 'files'}; {fix}"
                )
            require(
                is_run,
                str(path),
                "what --overwrite deletes",
                "a run",
                "other files",
                "choose another --out",
                error=RunError,
            )
            shutil.rmtree(path)
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{path}: cannot be made ({error.strerror}); choose another --out") from None
        return cls(path)

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

    @property
    def finished(self) -> bool:
        """Whether the encoder was written."""
        return (self.path / "encoder.json").is_file()
