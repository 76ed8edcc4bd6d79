"""The settings of a pretraining run: one frozen record, from which flags, YAML and documentation derive."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal

from nearfar.errors import ConfigError, require

__all__ = ["PretrainConfig"]

SHORT = ("image_size", "channels")
"""Input options that are settings of their own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything that decides what a pretraining run does.

    Attributes:
        modality: what the data are: image, text, audio, table, series, image-text, or of another package. auto looks
            at files and columns.
        input_options: how the data are read, such as --input-options.label diagnosis for a table.
        method: how to train; `nearfar methods` lists them.
        method_options: settings of the method, such as --method-options.temperature 0.2.
        encoder: what to train; `nearfar encoders` lists them. auto takes what fits the data: for images of at most 64
            pixels small, for larger ones resnet18; any timm model can be named.
        encoder_options: settings of the encoder, such as --encoder-options.width 64.
        pretrained: start from timm's published weights.
        init: start from the weights in a file or a run folder: ours, torch's, lightly's, solo-learn's, Google's SimCLR.
        views: how views are made, by name. auto takes what fits the data.
        view_options: settings of every view, such as --view-options.hflip 0.
        view_count: views of an item, for methods that take more than two; those named are repeated in turn.
        image_size: of images, the side of the square views in pixels. By default the images' own, but at most 224,
            and at most 64 for the encoder small.
        channels: of images, the channels to convert all to, 1 or 3. By default the images' own.
        split: the part of DATA to train on. By default train where there are splits, else everything.
        limit: train on that many items only, drawn by the seed and evenly over classes where labels exist.
        epochs: passes over the data.
        batch_size: items per step over all devices: they are each other's negatives.
        accumulate: batches per optimiser step; this does not enlarge the set of negatives.
        sampler: which items meet in a batch: shuffled, balanced (M of each of P classes), hierarchical, class-balanced,
            no-duplicates, group-aware. auto takes balanced for the method metric where there are labels, else shuffled.
        sampler_options: settings of the sampler, such as --sampler-options.per-class 4.
        hold_out_classes: the share of the classes that training never sees; retrieval among their items is scored after
            every epoch and at the end.
        optimizer: lars, sgd or adamw.
        lr: the peak learning rate. By default it follows from the optimiser and the batch size.
        weight_decay: of weights; biases and norms have none.
        momentum: of lars and sgd.
        warmup_epochs: linear warm-up. By default a tenth of the epochs, at most 10.
        clip: the largest norm of the gradient.
        precision: auto takes bf16 where the device computes in it.
        accelerator: auto takes CUDA where there is any.
        devices: processes per machine, one a device. By default all GPUs, or 1 on the CPU.
        nodes: machines.
        sync_batchnorm: BatchNorm over all GPUs, as SimCLR asks for.
        compile: compile the method with torch.compile.
        threads: threads that read images and make views. By default the number of cores.
        cache: memory decodes every image once; disk keeps the decoded images for later runs; off decodes every time.
        buffer: shuffle only nearby, each row by at most that many places, for shards that are slow to jump about in.
            By default 4096 for a URL whose images are kept neither in memory nor on disk, else all rows are shuffled.
        seed: of everything random: weights, order, views.
        log_every: optimiser steps between two rows of metrics.
        checkpoint_seconds: the longest time between two checkpoints.
        probe: watch a linear probe and a kNN on detached features while training, where labels exist.
        track: also log to wandb or mlflow.
    """

    modality: str = "auto"
    input_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    method: str = "simclr"
    method_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    encoder: str = "auto"
    encoder_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    pretrained: bool = False
    init: str | None = None
    views: str = "auto"
    view_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    view_count: int | None = None
    image_size: int | None = None
    channels: int | None = None
    split: str | None = None
    limit: int | None = None
    epochs: int = 100
    batch_size: int = 256
    accumulate: int = 1
    sampler: str = "auto"
    sampler_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    hold_out_classes: float | None = None
    optimizer: Literal["lars", "sgd", "adamw"] = "adamw"
    lr: float | None = None
    weight_decay: float = 1e-4
    momentum: float = 0.9
    warmup_epochs: float | None = None
    clip: float | None = None
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed", "64-true"] = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int | None = None
    nodes: int = 1
    sync_batchnorm: bool = True
    compile: bool = False
    threads: int | None = None
    cache: Literal["memory", "disk", "off"] = "memory"
    buffer: int | None = None
    seed: int = 0
    log_every: int = 10
    checkpoint_seconds: float = 600.0
    probe: bool = True
    track: tuple[Literal["wandb", "mlflow"], ...] = ()

    def __post_init__(self) -> None:
        """Convert every value to its field's type, and check every number that has a range.

        Raises:
            ConfigError: on the first that is wrong.
        """
        self._convert()
        at_least = {
            "image_size": 1, "channels": 1, "limit": 2, "epochs": 1, "batch_size": 1, "accumulate": 1, "devices": 1,
            "nodes": 1, "threads": 1, "buffer": 1, "seed": 0, "log_every": 1, "view_count": 1,
        }  # fmt: skip
        for name, least in at_least.items():
            value = getattr(self, name)
            require(value is None or value >= least, "pretrain", name, f">= {least}", value, error=ConfigError)
        for name in ("lr", "clip"):
            value = getattr(self, name)
            require(value is None or value > 0, "pretrain", name, "> 0", value, error=ConfigError)
        for name in ("weight_decay", "warmup_epochs", "checkpoint_seconds"):
            value = getattr(self, name)
            require(value is None or value >= 0, "pretrain", name, ">= 0", value, error=ConfigError)
        require(0 <= self.momentum < 1, "pretrain", "momentum", "in [0, 1)", self.momentum, error=ConfigError)
        held = self.hold_out_classes
        require(held is None or 0 < held < 1, "pretrain", "hold_out_classes", "in (0, 1)", held, error=ConfigError)
        one, fix = not (self.pretrained and self.init), "leave one of them out"
        require(one, "pretrain", "pretrained and init", "given one at a time", "both", fix, error=ConfigError)

    @property
    def reading(self) -> dict[str, Any]:
        """How the data are read: ``input_options``, and those of images that have flags of their own."""
        own = {name: getattr(self, name) for name in SHORT if getattr(self, name) is not None}
        return {**self.input_options, **own}

    def with_reading(self, options: Mapping[str, Any]) -> PretrainConfig:
        """Return these settings with how the data are read written out."""
        whole = {**self.input_options, **options}
        rest = {name: value for name, value in whole.items() if name not in SHORT and value is not None}
        own = {name: options.get(name, getattr(self, name)) for name in SHORT}
        return dataclasses.replace(self, input_options=rest, **own)

    def _convert(self) -> None:
        given = [field for field in dataclasses.fields(self) if getattr(self, field.name) != _default(field)]
        if not given:
            return
        from nearfar.config import check  # loads pydantic, which the defaults, and so every --help, do without

        hints = typing.get_type_hints(type(self))
        for field in given:
            value = check("pretrain", field.name, hints[field.name], getattr(self, field.name))
            object.__setattr__(self, field.name, value)


def _default(field: dataclasses.Field[Any]) -> Any:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()
