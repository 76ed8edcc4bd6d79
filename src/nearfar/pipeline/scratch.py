"""Training an encoder with a linear classifier on labels, from random weights: what pretraining has to beat.

Cross-entropy on one view of each item, made as pretraining makes its first; AdamW with a linear warm-up over a tenth
of the steps and a cosine to 0. Weights, order and views follow from the seed alone.
"""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.data import Loader, Source, Views, take
from nearfar.data.loader import cpu_count
from nearfar.data.source import read_many
from nearfar.encoders import EncoderSpec, fingerprint
from nearfar.errors import DataError, RunError, require
from nearfar.files import atomic_path
from nearfar.modalities import MODALITIES, Inputs, Modality, inputs_of
from nearfar.optim import build_optimizer, warmup_cosine
from nearfar.pipeline.features import Subject, to_device, untrained
from nearfar.pipeline.settings import PretrainConfig
from nearfar.pipeline.view_settings import with_options
from nearfar.progress import track
from nearfar.training.precision import choose_precision

__all__ = ["LR", "Trained", "train_from_scratch"]

LR = 1e-3
"""The peak learning rate, whatever the batch."""

CHECKPOINT_SECONDS = 60.0


class Trained(NamedTuple):
    """What training on labels left.

    Attributes:
        subject: the encoder, in eval mode.
        classifier: the linear map from its representations to the classes, on the CPU.
        losses: the mean loss of every epoch.
        seconds: the time of every epoch.
    """

    subject: Subject
    classifier: nn.Linear
    losses: list[float]
    seconds: list[float]

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the classes (N,) int64 of the encoder's representations (N, dim)."""
        with torch.inference_mode():
            answers: NDArray[np.int64] = self.classifier(torch.from_numpy(features)).argmax(dim=1).numpy()
        return answers


def train_from_scratch(
    like: EncoderSpec,
    source: Source,
    config: PretrainConfig,
    *,
    steps: int,
    checkpoint: Path | None = None,
    inputs: Inputs | None = None,
) -> Trained:
    """Train a fresh encoder and a linear classifier on labelled items.

    Args:
        like: the encoder to build.
        source: the items; those of unknown label are left out.
        config: batch size (at most the number of items), views, weight decay, precision, device, threads and seed are
            taken from it; its other settings have no meaning here.
        steps: optimiser steps.
        checkpoint: where to keep the state, about once a minute at an epoch's end; training goes on from there, and
            the file is left when it is done.
        inputs: what is known about the items; taken from the specification when absent.

    Raises:
        DataError: when fewer than two labelled items or classes are there.
        RunError: when the loss is not finite or the checkpoint cannot be used.
    """
    inputs = inputs or inputs_of(like)
    source = _labelled(source, MODALITIES.get(inputs.modality))
    device = torch.device("cuda" if config.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        subject = untrained(like, seed=config.seed, inputs=inputs)
        assert subject.encoder is not None
        assert source.labels is not None
        classifier = nn.Linear(like.dim, int(source.labels.max()) + 1)
        loop = _Loop(nn.Sequential(subject.encoder, classifier), _loader(inputs, source, config), config, steps, device)
        if checkpoint is not None and checkpoint.is_file():
            loop.load(checkpoint)
        loop.run(checkpoint)
    subject.encoder.cpu().eval()
    trained = dataclasses.replace(subject, name="from scratch", fingerprint=fingerprint(subject.encoder))
    return Trained(trained, classifier.cpu().eval(), loop.losses, loop.seconds)


def _labelled(source: Source, modality: Modality) -> Source:
    labels = source.labels
    require(labels is not None, "from scratch", "labels", "given", "none", modality.labels_fix, error=DataError)
    assert labels is not None
    rows = np.flatnonzero(labels >= 0)
    classes = len(np.unique(labels[rows]))
    require(classes >= 2, "from scratch", "the number of classes", ">= 2", classes, error=DataError)
    return source if len(rows) == len(labels) else take(source, rows)


def _loader(inputs: Inputs, source: Source, config: PretrainConfig) -> Loader:
    view = with_options(inputs.views(config.views)[0], config.view_options)
    first = read_many(source, np.zeros(1, np.int64))
    inputs.make_views(first, [view], np.random.default_rng(0))  # compiles what makes views, before any clock runs
    return Loader(
        source,
        lambda items, rng: inputs.make_views(items, [view], rng),
        batch_size=min(config.batch_size, len(source)),
        seed=config.seed,
        threads=config.threads or min(8, cpu_count()),
        on_broken="replace",
    )


class _Loop:
    """Model, optimiser and how far they are."""

    def __init__(
        self, model: nn.Sequential, loader: Loader, config: PretrainConfig, steps: int, device: torch.device
    ) -> None:
        self.model = model.to(device).to(memory_format=torch.channels_last).train()
        self.loader, self.steps, self.device = loader, steps, device
        self.optimizer = build_optimizer("adamw", self.model, lr=LR, weight_decay=config.weight_decay)
        precision = choose_precision(config.precision, "gpu" if device.type == "cuda" else "cpu")
        self.dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.step = 0
        self.losses: list[float] = []
        self.seconds: list[float] = []

    def run(self, checkpoint: Path | None) -> None:
        """Train to the last step."""
        epochs = math.ceil(self.steps / len(self.loader))
        saved = time.monotonic()
        for epoch in track(range(epochs), "from scratch"):
            if epoch < len(self.losses):
                continue  # done before the checkpoint was written
            began = time.monotonic()
            self.losses.append(self._epoch(epoch))
            self.seconds.append(time.monotonic() - began)
            if checkpoint is not None and time.monotonic() - saved >= CHECKPOINT_SECONDS:
                self._save(checkpoint)
                saved = time.monotonic()

    def _epoch(self, epoch: int) -> float:
        self.loader.set_epoch(epoch)
        losses: list[Tensor] = []
        for batch in self.loader:
            assert batch.labels is not None
            losses.append(self._step(batch.views[0], batch.labels))
            if self.step == self.steps:
                break
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            raise RunError(f"from scratch: the loss must be finite, got {mean} in epoch {epoch + 1}")
        return mean

    def _step(self, view: Views, labels: Tensor) -> Tensor:
        factor = warmup_cosine(self.step, total=self.steps, warmup=self.steps // 10)
        for group in self.optimizer.param_groups:
            group["lr"] = LR * factor
        view, labels = to_device(view, self.device), labels.to(self.device, non_blocking=True)
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None):
            logits = self.model(view)
        loss = F.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad()
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        return loss.detach()

    def _save(self, path: Path) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "losses": self.losses,
            "seconds": self.seconds,
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint.

        Raises:
            RunError: when it cannot be used.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.step, self.losses, self.seconds = state["step"], state["losses"], state["seconds"]
            torch.set_rng_state(state["random"])
            if state["cuda"]:
                torch.cuda.set_rng_state_all(state["cuda"])
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise RunError(f"{path}: is not a checkpoint that can be used ({first}); delete it") from None
