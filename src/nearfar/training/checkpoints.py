"""Checkpoints that a kill at any moment cannot damage, and that hold all a bit-for-bit resume needs."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import CheckpointIO

from nearfar.data import Loader
from nearfar.errors import RunError
from nearfar.files import atomic_path

__all__ = ["AtomicCheckpoints", "KeepLast", "RandomState"]


class AtomicCheckpoints(CheckpointIO):
    """Write to a temporary file, sync, rename; read without pickle."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write one checkpoint."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_path(Path(path)) as temporary:
                torch.save(checkpoint, temporary)
        except RuntimeError as error:  # how torch reports a full disk
            raise RunError(f"{path}: the checkpoint cannot be written ({error}); free some space") from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read one checkpoint; only tensors and plain values are accepted."""
        try:
            return torch.load(path, map_location=map_location or "cpu", weights_only=True)
        except Exception as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise RunError(f"{path}: is not a checkpoint that can be resumed ({first}); start again") from None

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete one checkpoint."""
        Path(path).unlink(missing_ok=True)


class KeepLast(Callback):
    """Write ``last.ckpt`` at the end of an epoch, and within one whenever ``seconds`` have passed.

    Args:
        path: where the checkpoint stands.
        seconds: the longest time between two checkpoints; an epoch's end that comes sooner than a tenth of it is
            passed over, so that short epochs do not write all the time.
    """

    def __init__(self, path: Path, *, seconds: float = 600.0) -> None:
        self.path = path
        self.seconds = seconds
        self._last = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Write within a long epoch, between two optimiser steps: the trainer has then counted all of the last one."""
        between = batch_idx > 0 and batch_idx % trainer.accumulate_grad_batches == 0
        if between and self._due(trainer, self.seconds):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write at the end of an epoch, and always at the end of the run."""
        last = trainer.current_epoch + 1 == trainer.max_epochs
        if self._due(trainer, 0.0 if last else self.seconds / 10):
            self._save(trainer)

    def _due(self, trainer: Trainer, seconds: float) -> bool:
        return bool(trainer.strategy.broadcast(time.monotonic() - self._last >= seconds))

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self._last = time.monotonic()


class RandomState(Callback):
    """Keep the generators of torch, NumPy and Python, and the loader's place, with the checkpoint.

    Every rank's generators are kept: rank 0 writes the checkpoint, so their states are gathered there first.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the states to a checkpoint."""
        batch = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        done = batch >= len(self.loader)
        epoch = trainer.current_epoch
        place = {"epoch": epoch + 1 if done else epoch, "batch": 0 if done else batch}
        checkpoint["nearfar_place"] = {**self.loader.state_dict(), **place}
        states = _get_states()
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, states)
            checkpoint["nearfar_random"] = gathered
        else:
            checkpoint["nearfar_random"] = [states]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Put the loader in its place; the generators follow when training starts."""
        place = checkpoint["nearfar_place"]
        self.loader.load_state_dict(place)
        states = checkpoint["nearfar_random"]
        if len(states) != trainer.world_size:
            raise RunError(
                f"resume: the number of processes must be {len(states)} as before, got {trainer.world_size}; "
                "the data order and the negatives depend on it"
            )
        self._restore = states[trainer.global_rank]

    _restore: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the generators as they were; later than all that draws random numbers while things are built."""
        if self._restore is not None:
            _set_states(self._restore)
            self._restore = None


def _get_states() -> dict[str, Any]:
    version, internal, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": [version, list(internal), gauss],
        "numpy": [np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)],
    }


def _set_states(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"])
    if torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state(("MT19937", np.asarray(keys, dtype=np.uint32), position, has_gauss, cached))
