"""What happens around a step: metrics are written, probes learn, a bar moves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from nearfar.data import Loader
from nearfar.distributed import gather, is_distributed, rank, sum_over_ranks, world_size
from nearfar.errors import RunError
from nearfar.progress import say, stderr
from nearfar.training.module import TrainingModule
from nearfar.training.probes import FeatureBank, OnlineProbe, collapse_signs, collapse_warning

__all__ = ["WAITS", "Bar", "Metrics", "Watch"]

WAITS = 0.05
"""The share of waiting above which the person is told what to change."""


class Metrics(Callback):
    """Write one row every ``log_every`` optimiser steps and one at the end of every epoch.

    Rows of steps have ``loss``, the method's own logs, ``lr``. Rows of epochs have the epoch's mean ``loss``, the
    collapse signs, ``probe_loss``, ``probe_accuracy`` and ``knn_accuracy`` where labels exist, ``seconds`` and
    ``images_per_second``. All but times are part of the checkpoint, so a resumed run writes the same rows.

    Args:
        loader: the training loader, asked how long it kept the step waiting.
        dim: length of a representation.
        classes: number of classes; 0 for no probes.
        log_every: optimiser steps between two rows.

    Raises:
        RunError: when the loss is not finite.
    """

    def __init__(self, loader: Loader, *, dim: int, classes: int, log_every: int) -> None:
        self.loader, self.log_every = loader, log_every
        self.probe = OnlineProbe(dim, classes) if classes else None
        self.bank = FeatureBank(dim, classes) if classes else None
        self.sums: dict[str, float] = {}
        self._started = time.monotonic()
        self._images = 0
        self._warned = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Move the probes to the device."""
        if self.probe is not None and self.bank is not None:
            self.probe.to(pl_module.device)
            self.bank.to(pl_module.device)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.setup(trainer, pl_module, "fit")
        self._started, self._images = time.monotonic(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take one micro-batch into account, and write a row when one is due."""
        assert isinstance(pl_module, TrainingModule)
        assert pl_module.last is not None
        last = pl_module.last
        loss = float(last.loss)
        if not math.isfinite(loss):
            raise RunError(
                f"training: the loss must be finite, got {loss} at step {trainer.global_step}; "
                "lower --lr, lengthen --warmup-epochs, or use --precision 32-true"
            )
        self._images += len(last.features) * trainer.world_size
        self._add("loss", loss)
        self._watch(last.features, pl_module.labels)
        complete = (batch_idx + 1) % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch
        if complete and trainer.global_step % self.log_every == 0:
            row = {"loss": loss, **{name: float(value) for name, value in last.logs.items()}}
            self._write(
                trainer, {"epoch": trainer.current_epoch, **_mean_over_ranks(row, pl_module.device), "lr": _lr(trainer)}
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's row."""
        assert isinstance(pl_module, TrainingModule)
        assert pl_module.last is not None
        signs = collapse_signs(pl_module.last.features)
        sums = _sum_over_ranks(self.sums, pl_module.device)
        row: dict[str, Any] = {"epoch": trainer.current_epoch, "epoch_loss": sums["loss"] / sums["loss_count"]}
        for name in ("probe_loss", "probe_accuracy", "knn_accuracy"):
            if sums.get(f"{name}_count"):
                row[name] = sums[name] / sums[f"{name}_count"]
        now = time.monotonic()
        seconds = now - self._started
        times = {
            "seconds": seconds,
            "images_per_second": self._images / seconds,
            "waited_share": self.loader.waited / seconds,
        }
        self._write(trainer, {**row, **signs, **times})
        self._started, self._images, self.sums = now, 0, {}
        warning = collapse_warning(signs)
        if warning and not self._warned and trainer.is_global_zero:
            say(f"warning: epoch {trainer.current_epoch + 1}: {warning}")
        self._warned = bool(warning)

    def state_dict(self) -> dict[str, Any]:
        """Return the probes, which are the same on all ranks, and every rank's sums of the running epoch."""
        sums: list[Any] = [dict(self.sums)]
        if is_distributed():
            sums *= world_size()
            torch.distributed.all_gather_object(sums, dict(self.sums))
        state: dict[str, Any] = {"sums": sums}
        if self.probe is not None and self.bank is not None:
            state |= {"probe": self.probe.full_state(), "bank": self.bank.state_dict()}
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.sums = dict(state_dict["sums"][rank()])
        if self.probe is not None and self.bank is not None:
            self.probe.load_full_state(state_dict["probe"])
            self.bank.load_state_dict(state_dict["bank"])

    def _watch(self, features: Tensor, labels: Tensor | None) -> None:
        if self.probe is None or self.bank is None or labels is None:
            return
        features, labels = gather(features), gather(labels)  # every rank's probe sees all rows, so all stay equal
        known = labels >= 0
        if int(known.sum()) < 2:
            return
        features, labels = features[known], labels[known]
        loss, right = self.probe.learn(features, labels)
        self._add("probe_loss", float(loss))
        self._add("probe_accuracy", float(right), len(labels))
        neighbours = self.bank.score(features, labels)
        if neighbours is not None:
            self._add("knn_accuracy", float(neighbours), len(labels))

    def _add(self, name: str, value: float, count: int = 1) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.sums[f"{name}_count"] = self.sums.get(f"{name}_count", 0.0) + count

    @staticmethod
    def _write(trainer: Trainer, row: dict[str, Any]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step)


class Watch(Callback):
    """Score the encoder at the end of every epoch by a function from outside, and write its numbers.

    The first rank alone scores, with random numbers put back afterwards, so that training is the same with and without.

    Args:
        score: from the encoder to numbers by name; None for no scores.
    """

    def __init__(self, score: Callable[[nn.Module], dict[str, float]] | None) -> None:
        self.score = score
        self.latest: dict[str, float] = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the epoch's scores."""
        assert isinstance(pl_module, TrainingModule)
        if self.score is None or not trainer.is_global_zero:
            return
        with torch.random.fork_rng(devices=[]):
            self.latest = self.score(pl_module.method.kept)
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, **self.latest}, step=trainer.global_step)

    def text(self) -> str:
        """Return the first of the last scores, for the bar."""
        name, value = next(iter(self.latest.items()), ("", 0.0))
        return f"{name.replace('_', ' ')} {value:.1%}" if name else ""


class Bar(Callback):
    """A progress bar over all steps with loss, items/s and time left; one line an epoch where there is no terminal.

    Both show the share of the epoch's time that the step waited for data. Once more than a twentieth of the time went
    that way, and a second in all, one sentence says what would change it; it comes again when it was better meanwhile.

    Args:
        epochs: of the whole run.
        loader: the training loader, asked how long it kept the step waiting.
        remedy: what can be done about waiting, in words that follow "use".
        shown: gives what else is shown, if anything.
    """

    def __init__(
        self, *, epochs: int, loader: Loader, remedy: str = "", shown: Callable[[], str] | None = None
    ) -> None:
        self.epochs, self.loader, self.remedy, self.shown = epochs, loader, remedy, shown
        self._since: tuple[float, float] | None = None
        self._waited = 0.0
        self._warned = False
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._started = 0.0
        self._said = 0.0
        self._images = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        self._since = None
        self._started = self._said = time.monotonic()
        self._images = 0
        if not trainer.is_global_zero or not stderr.is_terminal:
            return
        columns = (
            "pretrain",
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=stderr)
        self._task = self._progress.add_task(
            "", total=trainer.estimated_stepping_batches, text="", completed=trainer.global_step
        )
        self._progress.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Move the bar."""
        assert isinstance(pl_module, TrainingModule)
        assert pl_module.last is not None
        self._images += len(pl_module.last.features) * trainer.world_size
        if self._since is None:  # the first step of all waits for compilers and files: no setting changes that
            self._since = time.monotonic(), self.loader.waited
        if self._progress is not None:
            self._progress.update(self._task, completed=trainer.global_step, text=self._text(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say where things stand, at most every two seconds, where there is no bar."""
        assert isinstance(pl_module, TrainingModule)
        last = trainer.current_epoch + 1 == self.epochs
        if self._progress is None and trainer.is_global_zero and (last or time.monotonic() - self._said >= 2):
            self._said = time.monotonic()
            say(self._text(trainer, pl_module))
        if trainer.is_global_zero:
            self._judge(trainer.current_epoch + 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the bar away, so that the error stands alone."""
        self.on_train_end(trainer, pl_module)

    def _text(self, trainer: Trainer, pl_module: TrainingModule) -> str:
        assert pl_module.last is not None
        rate = self._images / max(1e-9, time.monotonic() - self._started)
        epoch = f"epoch {trainer.current_epoch + 1}/{self.epochs}"
        waits = f"waits {self.loader.waited_share:.0%}"
        words = (epoch, f"loss {float(pl_module.last.loss):.3f}", f"{rate:,.0f} items/s", waits)
        return "  ".join(filter(None, (*words, "" if self.shown is None else self.shown())))

    def _judge(self, epoch: int) -> None:
        """Say what to change when the epoch's steps waited too much."""
        began, before = self._since or (self._started, 0.0)
        now = time.monotonic()
        share = (self.loader.waited - before) / max(1e-9, now - began)
        self._waited += self.loader.waited - before
        self._since = now, 0.0
        if share <= WAITS:
            self._warned = False
        elif self._waited >= 1 and not self._warned and self.remedy:
            self._warned = True
            say(f"epoch {epoch}: the step waited for data in {share:.0%} of the time; use {self.remedy}")


def _lr(trainer: Trainer) -> float:
    return float(trainer.optimizers[0].param_groups[0]["lr"])


def _sum_over_ranks(values: dict[str, float], device: torch.device) -> dict[str, float]:
    names = sorted(values)
    total = sum_over_ranks(torch.tensor([values[name] for name in names], dtype=torch.float64, device=device))
    return dict(zip(names, total.tolist(), strict=True))


def _mean_over_ranks(values: dict[str, float], device: torch.device) -> dict[str, float]:
    counted = _sum_over_ranks({**values, "": 1.0}, device)
    count = counted.pop("")
    return {name: value / count for name, value in counted.items()}
