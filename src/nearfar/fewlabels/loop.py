"""The loop that fine-tuning, pseudo-labels and distillation share: steps on one device that a kill cannot undo.

Everything that a step depends on follows from its number and the seed (the order, the views, what is mixed) or stands
in the checkpoint (weights, optimiser, running averages, torch's generator), so a resumed run takes the same steps.
"""

from __future__ import annotations

import abc
import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.data import Batch, Loader, Views
from nearfar.errors import RunError
from nearfar.fewlabels.settings import DistillConfig, FinetuneConfig
from nearfar.files import atomic_path
from nearfar.optim import Special, build_optimizer, warmup_cosine
from nearfar.progress import track
from nearfar.training.precision import choose_precision
from nearfar.training.run import Run

__all__ = ["Device", "Objective", "Steps", "batches", "train"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """How the weights move; the settings' names have their meaning in `nearfar.fewlabels.settings`."""

    total: int
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    warmup: float
    clip: float | None
    precision: Any
    accelerator: str
    log_every: int
    checkpoint_seconds: float
    special: tuple[Special, ...] = ()
    free: str = "classifier."

    @classmethod
    def of(
        cls,
        config: FinetuneConfig | DistillConfig,
        *,
        total: int,
        optimizer: str,
        lr: float,
        special: tuple[Special, ...] = (),
    ) -> Steps:
        """Return the steps that settings ask for, but for what follows from the data."""
        return cls(
            total=total,
            optimizer=optimizer,
            lr=lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            warmup=config.warmup,
            clip=config.clip,
            precision=config.precision,
            accelerator=config.accelerator,
            log_every=config.log_every,
            checkpoint_seconds=config.checkpoint_seconds,
            special=special,
        )


class Device:
    """Where a step runs, and in which number format."""

    def __init__(self, accelerator: str, precision: Any) -> None:
        gpu = accelerator != "cpu" and torch.cuda.is_available()
        self.device = torch.device("cuda" if gpu else "cpu")
        chosen = choose_precision(precision, "gpu" if gpu else "cpu")
        self.dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(chosen)

    def put(self, views: Views) -> Any:
        """Move one view of a batch to the device."""
        if isinstance(views, Tensor):
            return views.to(self.device, non_blocking=True)
        return {name: view.to(self.device, non_blocking=True) for name, view in views.items()}

    def autocast(self) -> torch.autocast:
        """Return the context that forward passes run in."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype is not None)


class Objective(nn.Module, abc.ABC):
    """What is minimised: it holds the model that is trained, the data, and whatever it remembers from step to step.

    Attributes:
        model: what is trained; nothing else is handed to the optimiser.
        place: where it runs.
    """

    model: nn.Module
    place: Device

    @abc.abstractmethod
    def begin(self, step: int) -> None:
        """Put all streams of data where they stand before that step."""

    @abc.abstractmethod
    def loss(self, step: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Return the loss of a step, float32, and what else is worth a line in the metrics."""

    def remembered(self) -> dict[str, Tensor]:
        """Return what must be kept beside the model's weights."""
        return {}

    def remember(self, state: Mapping[str, Tensor]) -> None:
        """Take back what `remembered` returned."""


def batches(loader: Loader, step: int) -> Iterator[Batch]:
    """Yield batches without end, from the one of a step on; an epoch follows another."""
    epoch, batch = divmod(step, len(loader))
    loader.load_state_dict({**loader.state_dict(), "epoch": epoch, "batch": batch})
    while True:
        yield from loader


def train(objective: Objective, steps: Steps, run: Run, checkpoint: Path, description: str, *, first: int = 0) -> None:
    """Take all steps, or those that the checkpoint has not taken yet.

    Args:
        objective: on the CPU; its model is left on the device, in train mode.
        steps: how many, and how the weights move.
        run: where metrics go.
        checkpoint: where to stand safe from a kill; it is read when it is there.
        description: for the bar and errors.
        first: steps that an earlier loop of the same run has written to the metrics.

    Raises:
        RunError: when the loss is not finite, or the checkpoint cannot be used.
    """
    _Loop(objective, steps, run, checkpoint, description, first).run()


class _Loop:
    def __init__(
        self, objective: Objective, steps: Steps, run: Run, checkpoint: Path, description: str, first: int
    ) -> None:
        self.objective, self.steps, self.path, self.description = objective, steps, checkpoint, description
        self.first = first
        self.metrics = run.metrics_path
        place = objective.place
        objective.to(place.device).to(memory_format=torch.channels_last)
        self.model = objective.model.train()
        self.optimizer = _optimizer(self.model, steps)
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=place.dtype == torch.float16)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.step = 0
        if checkpoint.is_file():
            self._load()
        if self.step < steps.total:  # a loop that is over has later ones behind it
            run.cut_metrics(first + self.step)

    def run(self) -> None:
        self.objective.begin(self.step)
        saved = time.monotonic()
        with self.metrics.open("a", encoding="utf-8") as metrics:
            for _ in track(range(self.step, self.steps.total), self.description):
                if time.monotonic() - saved >= self.steps.checkpoint_seconds and self.step > 0:
                    metrics.flush()
                    self._save()
                    saved = time.monotonic()
                loss, logs = self._take()
                if self.step % self.steps.log_every == 0 or self.step == self.steps.total:
                    metrics.write(json.dumps(self._row(float(loss), logs)) + "\n")
        self._save()

    def _take(self) -> tuple[Tensor, Mapping[str, Tensor]]:
        warmup = round(self.steps.warmup * self.steps.total)
        factor = warmup_cosine(self.step, total=self.steps.total, warmup=warmup)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        loss, logs = self.objective.loss(self.step)
        self.optimizer.zero_grad()
        torch.autograd.backward(self.scaler.scale(loss))
        if self.steps.clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.steps.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        return loss.detach(), logs

    def _row(self, loss: float, logs: Mapping[str, Tensor]) -> dict[str, Any]:
        if not math.isfinite(loss):
            fix = "lower --lr, or use --precision 32-true"
            raise RunError(f"{self.description}: the loss must be finite, got {loss} at step {self.step}; {fix}")
        lr = self.optimizer.param_groups[0]["lr"]
        return {
            "step": self.first + self.step,
            "loss": loss,
            **{name: float(value) for name, value in logs.items()},
            "lr": lr,
        }

    def _save(self) -> None:
        cuda = self.objective.place.device.type == "cuda"
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "remembered": self.objective.remembered(),
            "step": self.step,
            "total": self.steps.total,
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if cuda else [],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_path(self.path) as temporary:
                torch.save(state, temporary)
        except RuntimeError as error:  # how torch reports a full disk
            raise RunError(f"{self.path}: the checkpoint cannot be written ({error}); free some space") from error

    def _load(self) -> None:
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            same = state["total"] == self.steps.total
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            self.objective.remember(state["remembered"])
            self.step = int(state["step"])
            torch.set_rng_state(state["random"])
            if state["cuda"]:
                torch.cuda.set_rng_state_all(state["cuda"])
        except Exception as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            fix = "start again with --overwrite"
            raise RunError(f"{self.path}: is not a checkpoint that can be used ({first}); {fix}") from None
        if not same:
            fix = "the data must be the same; start again with --overwrite"
            raise RunError(f"{self.path}: steps must be {state['total']} as before, got {self.steps.total}; {fix}")


def _optimizer(model: nn.Module, steps: Steps) -> torch.optim.Optimizer:
    """Build the optimiser; the zero classifier must not be adapted by LARS, or it would hardly ever leave zero."""
    special = list(steps.special)
    if steps.free and not any(one.prefix == steps.free for one in special):
        special.append(Special(steps.free, 1.0, False, 1.0))
    optimizer = build_optimizer(
        steps.optimizer, model, lr=steps.lr, weight_decay=steps.weight_decay, momentum=steps.momentum, special=special
    )
    free = {id(p) for name, p in model.named_parameters() if steps.free and name.startswith(steps.free)}
    for group in optimizer.param_groups:
        if steps.optimizer == "sgd":
            group["nesterov"] = steps.momentum > 0
        if steps.optimizer == "lars" and any(id(parameter) in free for parameter in group["params"]):
            group["adapt"] = False
    return optimizer
