"""What the tests of few labels share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

import nearfar
from nearfar.encoders import load_encoder
from nearfar.fewlabels import loop
from nearfar.fewlabels.finish import Outcome
from nearfar.fewlabels.predictor import load_predictor
from tests.samples import pictures

__all__ = ["DISTILL", "TUNE", "Stop", "distil", "same_weights", "stop_at", "tune", "write_data"]

TUNE: dict[str, Any] = {
    "epochs": 1, "least_steps": 4, "batch_size": 8, "unlabelled_batch": 8, "unlabelled_epochs": 1,
    "precision": "32-true", "accelerator": "cpu", "threads": 1, "log_every": 1, "checkpoint_seconds": 0.0,
}  # fmt: skip
"""Settings of a fine-tuning of a few steps, with a checkpoint before each."""

DISTILL: dict[str, Any] = {
    "epochs": 1, "batch_size": 16, "precision": "32-true", "accelerator": "cpu", "threads": 1, "log_every": 1,
    "checkpoint_seconds": 0.0,
}  # fmt: skip


class Stop(BaseException):
    """Raised in place of a kill, where the moment has to be exact."""


def write_data(path: Path, train: int = 48, test: int = 16, **kind: Any) -> Path:
    """Write pictures as an array file with splits."""
    images, labels = pictures(train, **kind)
    others, truth = pictures(test, **kind)
    np.savez(path, train_images=images, train_labels=labels, test_images=others, test_labels=truth)
    return path


def tune(run: Any, data: Any, out: Path, **changes: Any) -> Outcome:
    """Fine-tune with the tiny settings, changed; resume with the run's own."""
    settings = changes if changes.get("resume") else {**TUNE, **changes}
    return nearfar.finetune(run, data, out=out, **settings)


def distil(teacher: Any, data: Any, out: Path, **changes: Any) -> Outcome:
    """Distil with the tiny settings, changed; resume with the run's own."""
    settings = changes if changes.get("resume") else {**DISTILL, **changes}
    return nearfar.distill(teacher, data, out=out, **settings)


def same_weights(one: Path, two: Path) -> bool:
    """Whether two finished runs have the same encoder and classifier, bit for bit."""
    first, second = (load_predictor(path)[0].state_dict() for path in (one, two))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def stop_at(monkeypatch: Any, step: int) -> None:
    """End the loop before its step of that number, counted over all loops, as a kill would."""
    take, done = loop._Loop._take, [0]

    def counting(self: Any) -> Any:
        if done[0] == step:
            raise Stop
        done[0] += 1
        return take(self)

    monkeypatch.setattr(loop._Loop, "_take", counting)


def moved(one: Path, two: Path) -> set[str]:
    """Return the encoder's parameters that differ between two runs."""
    first, second = (dict(load_encoder(path)[0].named_parameters()) for path in (one, two))
    return {name for name in first if not torch.equal(first[name], second[name])}
