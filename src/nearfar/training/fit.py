"""Training a method: Lightning's trainer, set up once for all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from nearfar.data import Loader
from nearfar.errors import RunError, require
from nearfar.methods import Method
from nearfar.training.callbacks import Bar, Metrics, Watch
from nearfar.training.checkpoints import AtomicCheckpoints, KeepLast, RandomState
from nearfar.training.loggers import build_loggers
from nearfar.training.module import Optimization, TrainingModule
from nearfar.training.precision import Precision, choose_precision
from nearfar.training.run import Run

__all__ = ["FitSettings", "fit", "resolve_devices"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How the trainer runs; `nearfar.pipeline.PretrainConfig` has the same names with their meaning."""

    epochs: int
    accumulate: int
    clip: float | None
    precision: Precision
    accelerator: Literal["cpu", "gpu"]
    devices: int
    nodes: int
    sync_batchnorm: bool
    compile: bool
    log_every: int
    checkpoint_seconds: float
    track: Sequence[str]


def resolve_devices(accelerator: str, devices: int | None) -> tuple[Literal["cpu", "gpu"], int]:
    """Return the accelerator and the number of devices a node: all GPUs where there are any, else one CPU process."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerator == "cpu" or (accelerator == "auto" and not gpus):
        return "cpu", devices or 1
    require(gpus >= (devices or 1), "pretrain", "devices", f"<= {gpus}, the GPUs found here", devices or 1)
    return "gpu", devices or gpus


def fit(
    method: Method,
    loader: Loader,
    run: Run,
    optimization: Optimization,
    settings: FitSettings,
    *,
    classes: int,
    resume: bool,
    remedy: str = "",
    watch: Callable[[nn.Module], dict[str, float]] | None = None,
) -> None:
    """Train a method to the end, or on from the last checkpoint.

    Args:
        method: what to train; moved to the device and left trained.
        loader: the training batches; its rank and world are set from the process group.
        run: where metrics and checkpoints go.
        optimization: how the weights move.
        settings: how the trainer runs.
        classes: number of classes for the online probes; 0 for none.
        resume: go on from ``run.checkpoint`` if there is one.
        remedy: what the person can do when the step waits for data.
        watch: scores the encoder after every epoch; its numbers are logged and the first is shown in the bar.

    Raises:
        RunError: when the loss is not finite or a checkpoint cannot be used.
    """
    checkpoint = run.checkpoint if resume and run.checkpoint.is_file() else None
    step = _step_of(checkpoint) if checkpoint else (-1 if resume else None)
    method.to(memory_format=torch.channels_last)  # with bf16, up to ten times faster than the default layout on a CPU
    module = TrainingModule(method, optimization)
    if settings.compile:
        method.compile()
    dim = int(method.encoder.dim)  # type: ignore[arg-type]
    metrics = Metrics(loader, dim=dim, classes=classes, log_every=settings.log_every)
    watcher = Watch(watch)
    callbacks = [
        metrics,
        watcher,
        Bar(epochs=settings.epochs, loader=loader, remedy=remedy, shown=watcher.text),
        RandomState(loader),
        KeepLast(run.checkpoint, seconds=settings.checkpoint_seconds),
    ]
    with _quiet():
        trainer = Trainer(
            max_epochs=settings.epochs,
            accelerator=settings.accelerator,
            devices=settings.devices,
            num_nodes=settings.nodes,
            strategy=_strategy(settings),
            precision=choose_precision(settings.precision, settings.accelerator),
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.clip,
            sync_batchnorm=settings.sync_batchnorm and settings.accelerator == "gpu",
            callbacks=callbacks,
            logger=build_loggers(run, settings.track, resumed_at=step),
            plugins=[AtomicCheckpoints()],
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=run.path,
        )
        try:
            trainer.fit(module, train_dataloaders=_Placed(loader, trainer), ckpt_path=checkpoint)
        except SystemExit as error:  # what Lightning makes of Ctrl-C, which it then ignores
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from None


class _Placed:
    """The loader as Lightning sees it: told its rank when the process group stands, without a state of its own."""

    def __init__(self, loader: Loader, trainer: Trainer) -> None:
        self.loader, self.trainer = loader, trainer

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.loader.rank = self.trainer.global_rank
        yield from self.loader  # a generator: an iterator that Lightning makes and drops moves nothing


def _strategy(settings: FitSettings) -> Any:
    if settings.devices * settings.nodes == 1:
        return "auto"
    return DDPStrategy(process_group_backend="gloo" if settings.accelerator == "cpu" else "nccl")


def _step_of(path: Any) -> int:
    checkpoint = AtomicCheckpoints().load_checkpoint(path)
    try:
        return int(checkpoint["global_step"])
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{path}: is not a checkpoint of a run; start again with --overwrite") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's hints off the screen: what matters is said by nearfar itself."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    os.environ.setdefault("PL_DISABLE_FORK", "1")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
