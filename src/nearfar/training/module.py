"""The one LightningModule: it drives every method and knows none of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from nearfar.data.batch import Batch
from nearfar.methods import Method, Step
from nearfar.optim import Special, build_optimizer, warmup_cosine

__all__ = ["Optimization", "TrainingModule"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimization:
    """How the weights move.

    Attributes:
        optimizer: ``"lars"``, ``"sgd"`` or ``"adamw"``.
        lr: the peak learning rate.
        weight_decay: of weights; biases and norms have none.
        momentum: of LARS and SGD.
        warmup_steps: optimiser steps of the linear warm-up.
        total_steps: optimiser steps of the whole run.
    """

    optimizer: str
    lr: float
    weight_decay: float
    momentum: float
    warmup_steps: int
    total_steps: int


class TrainingModule(LightningModule):
    """One optimiser step of any method; the step's outcome is kept in ``last`` for the callbacks.

    A method that takes no labels never gets any: they are removed from its batch here and kept for the probe alone.
    """

    epochs_started: torch.Tensor

    def __init__(self, method: Method, optimization: Optimization) -> None:
        super().__init__()
        self.method = method
        self.optimization = optimization
        self.last: Step | None = None
        self.labels: torch.Tensor | None = None
        self.register_buffer("epochs_started", torch.zeros((), dtype=torch.int64))

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        """Return the method's loss."""
        self.labels = batch.labels
        self.method.progress.fill_(self._share(self.trainer.global_step))
        visible = batch if self.method.info.labels else batch._replace(labels=None)
        step: Step = self.method(visible)
        self.last = step._replace(loss=step.loss.detach())
        return step.loss

    def configure_optimizers(self) -> Any:
        """Return the optimiser and its schedule, which moves every step."""
        o = self.optimization
        special = [Special(prefix, *rule) for prefix, rule in self.method.rules().items()]
        optimizer = build_optimizer(
            o.optimizer, self.method, lr=o.lr, weight_decay=o.weight_decay, momentum=o.momentum, special=special
        )

        def factor(step: int) -> float:
            return warmup_cosine(step, total=o.total_steps, warmup=o.warmup_steps)

        schedule = LambdaLR(optimizer, [_one if group["constant"] else factor for group in optimizer.param_groups])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step, then let teachers move: once per optimiser step, not per accumulated micro-batch."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        # the trainer counts this step only when it returns
        self.method.after_step(self._share(self.trainer.global_step + 1))

    def on_train_epoch_start(self) -> None:
        """Tell the method, unless the run goes on within an epoch."""
        if int(self.epochs_started) <= self.current_epoch:
            self.epochs_started.fill_(self.current_epoch + 1)
            self.method.start_epoch(self.current_epoch)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Let the method hold weights fast."""
        self.method.before_step()

    def _share(self, steps: int) -> float:
        return min(1.0, steps / max(1, self.optimization.total_steps))


def _one(_: int) -> float:
    return 1.0
